import Foundation
import MoruBase
import MoruTraining

extension EvaluationRecipe {
    /// Every key that a recipe may have, besides `models`.
    static let keys: [SettingKey<EvaluationRecipe>] = [
        .text("data", isPath: true, get: { $0.data.isEmpty ? nil : $0.data }, set: { $0.data = $1 }),
        .choice("task", \.task),
        .text("against", isPath: true, get: { $0.against }, set: { $0.against = $1 }),
        SettingKey(
            path: "metrics", expectation: "a list of " + TextMetric.allCases.map(\.rawValue).joined(separator: ", "),
            choices: TextMetric.allCases.map(\.rawValue), get: { .list($0.metrics.map(\.rawValue)) },
            set: { recipe, value in
                recipe.metrics = value.items.compactMap(TextMetric.init)
                return recipe.metrics.count == value.items.count
            }),
        .names("labels", allowsEmpty: true, \.labels),
        .text("instruction", expectation: "a text", get: { $0.instruction }, set: { $0.instruction = $1 }),
        .integer("limit", 1...Int.max, \.limit),
        .integer("max_tokens", 1...Int.max, \.maximumTokens),
        .integer("window", 2...Int.max, \.windowLength),
        SettingKey(
            path: "gates", expectation: "a list of conditions such as accuracy >= 0.8",
            get: { .list($0.gates.map(\.text)) },
            set: { recipe, value in
                recipe.gates = value.items.compactMap { try? Gate($0) }
                return recipe.gates.count == value.items.count
            }),
        .text("report", isPath: true, get: { $0.report }, set: { $0.report = $1 }),
        .text("save", isPath: true, get: { $0.save }, set: { $0.save = $1 }),
    ]

    private static let modelKeys = ["name", "model", "adapter", "gated"]

    /// Reads a recipe file.
    ///
    /// - Parameters:
    ///   - path: The YAML file. Paths in it are relative to its directory.
    ///   - overrides: `key=value` pairs such as `limit=20`, which win over the file. Paths in them are relative to the
    ///     working directory.
    /// - Throws: ``MoruError/Code/recipeMalformed``, ``MoruError/Code/recipeUnknownKey``,
    ///   ``MoruError/Code/recipeValue`` or ``MoruError/Code/evaluationGate``, naming file, line and key.
    public init(file path: String, overrides: [String] = []) throws(MoruError) {
        try self.init(
            yaml: try FileSystem.readText(path), source: path,
            directory: (path as NSString).deletingLastPathComponent, overrides: overrides)
    }

    /// Reads a recipe; see ``init(file:overrides:)``.
    public init(
        yaml: String, source: String, directory: String = "", overrides: [String] = []
    ) throws(MoruError) {
        let entries = try RecipeEntry.read(yaml, source: source, example: "data")
        self.init(data: "", models: [])
        var models: [(names: [String: String], place: String)] = []
        for entry in entries {
            if entry.path == "models" || entry.path.hasPrefix("models.") {
                try Self.take(entry, into: &models, directory)
            } else {
                try apply(entry, directory)
            }
        }
        for override in overrides { try apply(try RecipeEntry(override: override, example: "limit=20"), "") }
        for (names, place) in models {
            guard let model = names["model"] else {
                throw MoruError(
                    .recipeValue, "\(place): a model has no key model", remedy: "name it: a name, or a path")
            }
            guard let isGated = Bool(names["gated"] ?? "true") else {
                throw MoruError(
                    .recipeValue, "\(place): gated is \(names["gated"] ?? "")", remedy: "it must be true or false")
            }
            self.models.append(
                Model(name: names["name"], model: model, adapter: names["adapter"], isGated: isGated))
        }
        for (key, isMissing) in [("data", data.isEmpty), ("models", self.models.isEmpty)] where isMissing {
            throw MoruError(.recipeValue, "\(source): the key \(key) is missing", remedy: "add it")
        }
    }

    /// Takes `models`: a name, a list of names, or a list of mappings.
    private static func take(
        _ entry: RecipeEntry, into models: inout [(names: [String: String], place: String)], _ directory: String
    ) throws(MoruError) {
        let parts = entry.path.split(separator: ".", maxSplits: 2).map(String.init)
        let expectation = "a list of models: names, or mappings of \(modelKeys.joined(separator: ", "))"
        guard let items = entry.value?.items, !items.contains("") else {
            throw MoruError(
                .recipeValue, "\(entry.place): \(entry.path) has an unsuitable value",
                remedy: "it must be \(expectation)")
        }
        if parts.count < 3 {
            for item in items { models.append((["model": modelPath(item, directory)], entry.place)) }
            return
        }
        guard let place = Int(parts[1]), modelKeys.contains(parts[2]), items.count == 1 else {
            let nearest = nearestName(to: parts[2], among: modelKeys)
            throw MoruError(
                .recipeUnknownKey, "\(entry.place): unknown key \(parts[2]) of a model",
                remedy: nearest.map { "did you mean \($0)?" } ?? "it must be \(expectation)")
        }
        while models.count <= place { models.append(([:], entry.place)) }
        models[place].names[parts[2]] =
            switch parts[2] {
            case "model": modelPath(items[0], directory)
            case "adapter": RecipeEntry.resolve(items[0], directory)
            default: items[0]
            }
    }

    /// A model's name as it is, a path as one that this process can open.
    private static func modelPath(_ text: String, _ directory: String) -> String {
        ["/", "./", "../", "~/"].contains { text.hasPrefix($0) } ? RecipeEntry.resolve(text, directory) : text
    }

    private mutating func apply(_ entry: RecipeEntry, _ directory: String) throws(MoruError) {
        guard let key = Self.keys.first(where: { $0.path == entry.path }) else {
            throw entry.unknownKey(among: Self.keys.map(\.path) + ["models"])
        }
        if key.path == "gates" {
            // Each says what is wrong with it
            for text in entry.value?.items ?? [] {
                do { _ = try Gate(text) } catch { throw error.within(entry.place) }
            }
        }
        let value = entry.value.map { key.isPath ? RecipeEntry.resolve($0, directory) : $0 }
        guard let value, key.set(&self, value) else { throw entry.unacceptable(for: key) }
    }
}
