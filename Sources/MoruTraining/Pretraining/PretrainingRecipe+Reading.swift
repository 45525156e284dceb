import Foundation
import MoruBase
import Yams

extension PretrainingRecipe {
    /// Reads a recipe file.
    ///
    /// - Parameters:
    ///   - path: The YAML file. Paths in it are relative to its directory; without `output`, the run is written to
    ///     `runs/NAME` beside it.
    ///   - overrides: `key=value` pairs such as `model.layers=2`, which win over the file. Paths in them are relative to
    ///     the working directory.
    /// - Throws: ``MoruError/Code/recipeMalformed``, ``MoruError/Code/recipeUnknownKey`` or
    ///   ``MoruError/Code/recipeValue``, naming file, line and key.
    public init(file path: String, overrides: [String] = []) throws(MoruError) {
        let name = ((path as NSString).lastPathComponent as NSString).deletingPathExtension
        let directory = (path as NSString).deletingLastPathComponent
        try self.init(
            yaml: try FileSystem.readText(path), source: path, directory: directory, name: name, overrides: overrides)
    }

    /// Reads a recipe; see ``init(file:overrides:)``.
    public init(
        yaml: String, source: String, directory: String = "", name: String = "model", overrides: [String] = []
    ) throws(MoruError) {
        let entries = try PretrainingReader.entries(yaml, source: source)
        var changes: [PretrainingReader.Entry] = []
        for override in overrides { changes.append(try PretrainingReader.entry(override: override)) }
        // The size comes first, since it decides what the other settings begin with
        self.init(train: [], output: PretrainingReader.resolve("runs/\(name)", directory))
        for entry in entries + changes where entry.path == "size" {
            try apply(entry, directory: directory)
            training = Self.settings(size)
        }
        for entry in entries { try apply(entry, directory: directory) }
        for change in changes { try apply(change, directory: "") }
        if train.isEmpty {
            throw MoruError(
                .recipeValue, "\(source): the key data.train is missing", remedy: "name files, folders or patterns")
        }
    }

    /// Sets one key.
    private mutating func apply(_ entry: PretrainingReader.Entry, directory: String) throws(MoruError) {
        let expectation: String
        var choices: [String] = []
        var isSet = false
        if let key = PretrainingKey.all.first(where: { $0.path == entry.path }) {
            (expectation, choices) = (key.expectation, key.choices)
            if let value = entry.value {
                isSet = key.set(&self, key.isPath ? PretrainingReader.resolve(value, directory) : value)
            }
        } else if let key = Self.trainingKeys.first(where: { $0.path == entry.path }) {
            (expectation, choices) = (key.expectation, key.choices)
            if let value = entry.value { isSet = set(key, value) }
        } else {
            let names = PretrainingKey.all.map(\.path) + Self.trainingKeys.map(\.path)
            let last = String(entry.path.split(separator: ".").last ?? "")
            let sameName = names.first { $0.hasSuffix(".\(last)") }
            let nearest = nearestName(to: entry.path, among: names) ?? sameName
            throw MoruError(
                .recipeUnknownKey, "\(entry.place): unknown key \(entry.path)",
                remedy: nearest.map { "did you mean \($0)?" } ?? "the keys are \(names.joined(separator: ", "))")
        }
        guard isSet else {
            let text = entry.value?.text ?? "no such value"
            let nearest = nearestName(to: text, among: choices).map { "; did you mean \($0)?" } ?? ""
            throw MoruError(
                .recipeValue, "\(entry.place): \(entry.path) is \(text)",
                remedy: "it must be \(expectation)\(nearest)")
        }
    }
}

/// Turns YAML into keys and values.
private enum PretrainingReader {
    struct Entry {
        var path: String
        /// Nil for what is neither a scalar nor a list of scalars.
        var value: RecipeValue?
        var place: String
    }

    static func entries(_ yaml: String, source: String) throws(MoruError) -> [Entry] {
        let root: Node?
        do {
            root = try Yams.compose(yaml: yaml)
        } catch {
            throw MoruError(
                .recipeMalformed, "\(source) is no YAML",
                remedy: "check the indentation, and quote strings that hold a colon or a hash", cause: error)
        }
        guard case .mapping(let mapping)? = root else {
            throw MoruError(
                .recipeMalformed, "\(source) holds no keys", remedy: "a recipe has at least the key data.train")
        }
        var entries: [Entry] = []
        for (key, value) in mapping {
            let name = key.scalar?.string ?? ""
            guard case .mapping(let section) = value else {
                entries.append(entry(name, value, at: key, source))
                continue
            }
            for (inner, value) in section {
                entries.append(entry("\(name).\(inner.scalar?.string ?? "")", value, at: inner, source))
            }
        }
        return entries
    }

    static func entry(override: String) throws(MoruError) -> Entry {
        guard let equals = override.firstIndex(of: "="), equals > override.startIndex else {
            throw MoruError(
                .recipeValue, "the override \"\(override)\" is no key with a value",
                remedy: "write key=value, as in model.layers=2")
        }
        let path = override[..<equals].trimmingCharacters(in: .whitespaces)
        let node: Node?
        do {
            node = try Yams.compose(yaml: String(override[override.index(after: equals)...]))
        } catch {
            throw MoruError(.recipeMalformed, "override \(path): the value is no YAML", cause: error)
        }
        return Entry(path: path, value: node.flatMap(value), place: "override \(path)")
    }

    private static func entry(_ path: String, _ node: Node, at key: Node, _ source: String) -> Entry {
        Entry(path: path, value: value(node), place: key.mark.map { "\(source):\($0.line)" } ?? source)
    }

    private static func value(_ node: Node) -> RecipeValue? {
        switch node {
        case .scalar(let scalar): return .scalar(scalar.string, isPlain: scalar.style == .plain || scalar.style == .any)
        case .sequence(let sequence):
            let items = sequence.compactMap { $0.scalar?.string }
            return items.count == sequence.count ? .list(items) : nil
        default: return nil
        }
    }

    static func resolve(_ value: RecipeValue, _ directory: String) -> RecipeValue {
        switch value {
        case .scalar(let text, let isPlain): .scalar(resolve(text, directory), isPlain: isPlain)
        case .list(let items): .list(items.map { resolve($0, directory) })
        }
    }

    static func resolve(_ path: String, _ directory: String) -> String {
        let expanded = (path as NSString).expandingTildeInPath
        guard !directory.isEmpty, !expanded.isEmpty, !expanded.hasPrefix("/") else { return expanded }
        return ("\(directory)/\(expanded)" as NSString).standardizingPath
    }
}
