import Foundation
import MoruBase
import Yams

/// A key of a recipe with its value, as it stands in the YAML.
package struct RecipeEntry: Sendable {
    /// The path from the root, joined by dots; the places of a list of mappings count from 0: `models.0.name`.
    package var path: String
    /// Nil for what is neither a scalar nor a list of scalars.
    package var value: RecipeValue?
    /// File and line, for error messages.
    package var place: String

    /// The keys of a text, two levels deep, in their order.
    ///
    /// - Parameters:
    ///   - yaml: The text.
    ///   - source: What the text is, for error messages.
    ///   - example: A key that must be there, for error messages.
    /// - Throws: ``MoruError/Code/recipeMalformed``.
    package static func read(_ yaml: String, source: String, example: String) throws(MoruError) -> [RecipeEntry] {
        let root: Node?
        do {
            root = try Yams.compose(yaml: yaml)
        } catch {
            throw .recipeMalformed(error, source: source)
        }
        guard case .mapping(let mapping)? = root else {
            throw MoruError(
                .recipeMalformed, "\(source) holds no keys", remedy: "a recipe has at least the key \(example)")
        }
        var entries: [RecipeEntry] = []
        for (key, value) in mapping {
            let name = key.scalar?.string ?? ""
            switch value {
            case .mapping(let section):
                for (inner, value) in section {
                    entries.append(entry("\(name).\(inner.scalar?.string ?? "")", value, at: inner, source))
                }
            case .sequence(let items) where items.contains { $0.mapping != nil }:
                for (place, item) in items.enumerated() {
                    guard let mapping = item.mapping else {
                        entries.append(entry("\(name).\(place)", item, at: item, source))
                        continue
                    }
                    for (inner, value) in mapping {
                        let path = "\(name).\(place).\(inner.scalar?.string ?? "")"
                        entries.append(entry(path, value, at: inner, source))
                    }
                }
            default: entries.append(entry(name, value, at: key, source))
            }
        }
        return entries
    }

    /// A `key=value` override.
    ///
    /// - Parameter example: One, for error messages.
    /// - Throws: ``MoruError/Code/recipeValue`` or ``MoruError/Code/recipeMalformed``.
    package init(override: String, example: String) throws(MoruError) {
        guard let equals = override.firstIndex(of: "="), equals > override.startIndex else {
            throw MoruError(
                .recipeValue, "the override \"\(override)\" is not a key with a value",
                remedy: "write key=value, as in \(example)")
        }
        path = override[..<equals].trimmingCharacters(in: .whitespaces)
        place = "override \(path)"
        do {
            value = try Yams.compose(yaml: String(override[override.index(after: equals)...])).flatMap(Self.value)
        } catch {
            throw MoruError(.recipeMalformed, "\(place): the value is not valid YAML", cause: error)
        }
    }

    init(path: String, value: RecipeValue?, place: String) {
        (self.path, self.value, self.place) = (path, value, place)
    }

    private static func entry(_ path: String, _ node: Node, at key: Node, _ source: String) -> RecipeEntry {
        RecipeEntry(path: path, value: value(node), place: key.mark.map { "\(source):\($0.line)" } ?? source)
    }

    /// A scalar or a list of scalars; nil for anything else.
    static func value(_ node: Node) -> RecipeValue? {
        switch node {
        case .scalar(let scalar): return .scalar(scalar.string, isPlain: scalar.style == .plain || scalar.style == .any)
        case .sequence(let sequence):
            let items = sequence.compactMap { $0.scalar?.string }
            return items.count == sequence.count ? .list(items) : nil
        default: return nil
        }
    }

    /// What to say where no key has the entry's path.
    ///
    /// - Parameter names: The keys that there are.
    package func unknownKey(among names: [String]) -> MoruError {
        let last = "." + (path.split(separator: ".").last ?? "")
        let nearest = nearestName(to: path, among: names) ?? names.first { $0.hasSuffix(last) }
        return MoruError(
            .recipeUnknownKey, "\(place): unknown key \(path)",
            remedy: nearest.map { "did you mean \($0)?" } ?? "the keys are \(names.joined(separator: ", "))")
    }

    /// What to say where a key does not take the entry's value.
    package func unacceptable<Root>(for key: SettingKey<Root>) -> MoruError {
        let text = value?.text ?? "a nested structure"
        let wrong = value?.items.first { !key.choices.contains($0) } ?? text
        let nearest = nearestName(to: wrong, among: key.choices).map { "; did you mean \($0)?" } ?? ""
        return MoruError(
            .recipeValue, "\(place): \(path) is \(text)", remedy: "it must be \(key.expectation)\(nearest)")
    }

    /// Paths as ones that this process can open.
    package static func resolve(_ value: RecipeValue, _ directory: String) -> RecipeValue {
        switch value {
        case .scalar(let text, let isPlain): .scalar(resolve(text, directory), isPlain: isPlain)
        case .list(let items): .list(items.map { resolve($0, directory) })
        }
    }

    /// A path as one that this process can open.
    package static func resolve(_ path: String, _ directory: String) -> String {
        let expanded = (path as NSString).expandingTildeInPath
        guard !directory.isEmpty, !expanded.isEmpty, !expanded.hasPrefix("/") else { return expanded }
        return ("\(directory)/\(expanded)" as NSString).standardizingPath
    }
}
