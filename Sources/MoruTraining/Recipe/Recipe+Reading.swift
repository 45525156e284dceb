import Foundation
import MoruBase
import Yams

extension Recipe {
    /// Reads a recipe file.
    ///
    /// - Parameters:
    ///   - path: The YAML file. Paths in it are relative to its directory; without `output`, the run is written to
    ///     `runs/NAME` beside it.
    ///   - overrides: `key=value` pairs such as `training.epochs=2`, which win over the file. Paths in them are
    ///     relative to the working directory.
    /// - Throws: ``MoruError/Code/recipeMalformed``, ``MoruError/Code/recipeUnknownKey`` or
    ///   ``MoruError/Code/recipeValue``, naming file, line and key.
    public init(file path: String, overrides: [String] = []) throws(MoruError) {
        let text = try FileSystem.readText(path)
        let name = ((path as NSString).lastPathComponent as NSString).deletingPathExtension
        let directory = (path as NSString).deletingLastPathComponent
        try self.init(yaml: text, source: path, directory: directory, name: name, overrides: overrides)
    }

    /// Reads a recipe; see ``init(file:overrides:)``.
    ///
    /// - Parameters:
    ///   - yaml: The text.
    ///   - source: What the text is, for error messages.
    ///   - directory: What paths in it are relative to; empty for the working directory.
    ///   - name: The run's name where no output directory is given.
    public init(
        yaml: String, source: String, directory: String = "", name: String = "recipe", overrides: [String] = []
    ) throws(MoruError) {
        var reader = RecipeReader(source: source, directory: directory)
        reader.recipe.output = RecipeEntry.resolve("runs/\(name)", directory)
        try reader.read(yaml)
        try reader.requireConsistency()
        for override in overrides { try reader.apply(override) }
        try reader.requireCompleteness()
        self = reader.recipe
    }
}

/// Walks a recipe's YAML and fills the typed recipe.
private struct RecipeReader {
    let source: String
    let directory: String
    var recipe = Recipe(model: "", output: "", data: DataSettings(train: ""))
    /// The line of each key that the file has.
    var lines: [String: Int] = [:]

    init(source: String, directory: String) {
        self.source = source
        self.directory = directory
    }

    mutating func read(_ yaml: String) throws(MoruError) {
        let root: Node?
        do {
            root = try Yams.compose(yaml: yaml)
        } catch {
            throw .recipeMalformed(error, source: source)
        }
        guard let root else {
            throw MoruError(
                .recipeMalformed, "\(source) is empty", remedy: "a recipe has at least the keys model and data.train")
        }
        try read(root, section: "")
    }

    private mutating func read(_ node: Node, section: String) throws(MoruError) {
        guard case .mapping(let mapping) = node else {
            if !section.isEmpty, isNull(node) { return }
            let what = section.isEmpty ? "the recipe" : section
            throw MoruError(
                .recipeMalformed, "\(place(node)): \(what) is not a mapping",
                remedy:
                    "write keys and values, such as \(section.isEmpty ? "model: NAME" : "\(section):\\n  KEY: VALUE")")
        }
        for (keyNode, value) in mapping {
            guard case .scalar(let scalar) = keyNode else {
                throw MoruError(.recipeMalformed, "\(place(keyNode)): a key must be a plain name")
            }
            let path = section.isEmpty ? scalar.string : "\(section).\(scalar.string)"
            if let key = Recipe.keys.first(where: { $0.path == path }) {
                lines[path] = keyNode.mark?.line ?? 0
                try set(key, value, at: place(keyNode), relativeTo: directory)
            } else if section.isEmpty, Recipe.sections.contains(path) {
                try read(value, section: path)
            } else {
                throw unknown(path, at: place(keyNode))
            }
        }
    }

    private mutating func set(
        _ key: RecipeKey, _ node: Node, at place: String, relativeTo directory: String
    ) throws(MoruError) {
        guard !isNull(node) else {
            if let clear = key.clear { return clear(&recipe) }
            throw MoruError(
                .recipeValue, "\(place): \(key.path) has no value",
                remedy: "it must be \(key.expectation); leave the key out for the default")
        }
        guard var value = RecipeEntry.value(node) else {
            throw RecipeEntry(path: key.path, value: nil, place: place).unacceptable(for: key)
        }
        if case .scalar(let text, let isPlain) = value, !text.isEmpty,
            key.isPath || (key.namesModel && looksLikePath(text))
        {
            value = .scalar(RecipeEntry.resolve(text, directory), isPlain: isPlain)
        }
        if case .list(let items) = value, key.isPath {
            value = .list(items.map { RecipeEntry.resolve($0, directory) })
        }
        guard key.set(&recipe, value) else {
            throw RecipeEntry(path: key.path, value: value, place: place).unacceptable(for: key)
        }
    }

    /// Applies a `key=value` override.
    mutating func apply(_ override: String) throws(MoruError) {
        guard let equals = override.firstIndex(of: "=") else {
            throw MoruError(
                .recipeValue, "the override \"\(override)\" has no value",
                remedy: "write key=value, as in training.epochs=2")
        }
        let path = override[..<equals].trimmingCharacters(in: .whitespaces)
        guard !path.isEmpty else {
            throw MoruError(
                .recipeValue, "the override \"\(override)\" names no key",
                remedy: "write key=value, as in training.epochs=2")
        }
        guard !Recipe.sections.contains(path) else {
            throw MoruError(
                .recipeValue, "the override \"\(override)\" is for a whole section",
                remedy: "set its keys one by one, as in training.epochs=2")
        }
        let place = "override \(path)"
        guard let key = Recipe.keys.first(where: { $0.path == path }) else { throw unknown(path, at: place) }
        let node: Node?
        do {
            node = try Yams.compose(yaml: String(override[override.index(after: equals)...]))
        } catch {
            throw MoruError(.recipeMalformed, "\(place): the value is not valid YAML", cause: error)
        }
        try set(key, node ?? Node("", Tag(.null)), at: place, relativeTo: "")
    }

    /// Refuses keys that contradict each other.
    func requireConsistency() throws(MoruError) {
        for keys in Recipe.exclusiveKeys {
            let present = keys.filter { lines[$0] != nil }
            guard present.count > 1, let line = present.compactMap({ lines[$0] }).max() else { continue }
            throw MoruError(
                .recipeValue, "\(source):\(line): \(present.joined(separator: " and ")) exclude each other",
                remedy: "keep one of them")
        }
    }

    /// Refuses a recipe that lacks what has no default.
    func requireCompleteness() throws(MoruError) {
        for path in ["model", "data.train"] {
            guard let key = Recipe.keys.first(where: { $0.path == path }), key.get(recipe) == nil else { continue }
            throw MoruError(
                .recipeValue, "\(source): the key \(path) is missing", remedy: "add it; it is \(key.expectation)")
        }
        if recipe.objective == .distillation, recipe.teacher == nil {
            throw MoruError(
                .recipeValue, "\(source): the objective is distillation, but distillation.teacher is missing",
                remedy: "name the larger model to learn from")
        }
        if recipe.method == .head, !recipe.objective.learnsHead {
            throw MoruError(
                .recipeValue, "\(source): the method is head, but the objective \(recipe.objective.rawValue) has none",
                remedy: "choose the objective classification, extraction or regression, or another method")
        }
        if !recipe.evaluation.gates.isEmpty, recipe.evaluation.data == nil {
            throw MoruError(
                .recipeValue, "\(source): evaluation.gates is set, but evaluation.data is missing",
                remedy: "name the examples that the tuned model is measured on")
        }
        if recipe.quantize != nil, recipe.method == .full || recipe.method == .lastLayers {
            throw MoruError(
                .recipeValue, "\(source): quantize is set, but \(recipe.method.rawValue) moves the model's own weights",
                remedy: "leave quantize out, or learn an adapter (method: lora)")
        }
    }

    private func looksLikePath(_ text: String) -> Bool {
        ["/", "./", "../", "~/"].contains { text.hasPrefix($0) }
    }

    private func isNull(_ node: Node) -> Bool {
        guard case .scalar(let scalar) = node, scalar.style == .plain || scalar.style == .any else { return false }
        return ["", "~", "null", "Null", "NULL"].contains(scalar.string)
    }

    private func place(_ node: Node) -> String { node.mark.map { "\(source):\($0.line)" } ?? source }

    /// The error for a key that does not exist: the nearest in its section, else the same name in another one.
    private func unknown(_ path: String, at place: String) -> MoruError {
        let parts = path.split(separator: ".", maxSplits: 1).map(String.init)
        let section = parts.count == 2 ? parts[0] : ""
        let name = parts.last ?? path
        let siblings = Recipe.keys.filter { $0.section == section }
        let names = siblings.map(\.name) + (section.isEmpty ? Recipe.sections : [])
        var remedy: String
        if let nearest = nearestName(to: name, among: names) {
            remedy = "did you mean \(section.isEmpty ? nearest : "\(section).\(nearest)")?"
        } else if let elsewhere = nearestName(to: name, among: Recipe.keys.map(\.name)),
            let key = Recipe.keys.first(where: { $0.name == elsewhere })
        {
            remedy = "did you mean \(key.path)?"
        } else if names.isEmpty {
            remedy = "the sections are \(Recipe.sections.joined(separator: ", "))"
        } else {
            remedy = "the keys here are \(names.joined(separator: ", "))"
        }
        return MoruError(.recipeUnknownKey, "\(place): unknown key \(path)", remedy: remedy)
    }
}

extension MoruError {
    /// What is wrong with a recipe, or another file like it, that is no YAML.
    static func recipeMalformed(_ error: any Error, source: String) -> MoruError {
        let remedy = "check the indentation, and quote strings that hold a colon or a hash"
        switch error as? YamlError {
        case .scanner(_, let problem, let mark, _), .parser(_, let problem, let mark, _),
            .composer(_, let problem, let mark, _):
            return MoruError(.recipeMalformed, "\(source):\(mark.line): \(problem)", remedy: remedy)
        case .duplicatedKeysInMapping(let keys, let context):
            return MoruError(
                .recipeMalformed,
                "\(source): \(keys.joined(separator: ", ")) occurs twice in the mapping at line \(context.mark.line)",
                remedy: "keep one of them")
        default: return MoruError(.recipeMalformed, "\(source) is not valid YAML", remedy: remedy, cause: error)
        }
    }
}
