/// A key of a recipe for training from scratch.
typealias PretrainingKey = SettingKey<PretrainingRecipe>

extension PretrainingKey {
    /// One text, or a list of them.
    private static func texts(_ path: String, isPath: Bool = false, _ place: any Place<[String]>) -> PretrainingKey {
        PretrainingKey(
            path: path, expectation: isPath ? "a path or a list of paths" : "a text or a list of texts", isPath: isPath,
            decidesResult: false, get: { $0[keyPath: place].isEmpty ? nil : .list($0[keyPath: place]) },
            set: { recipe, value in
                recipe[keyPath: place] = value.items
                return !recipe[keyPath: place].contains("")
            })
    }

    /// Every key but those of `training` and `early_stopping`.
    static let all: [PretrainingKey] = [
        .choice("architecture", \.architecture), .choice("size", \.size),
        .text("output", isPath: true, get: { $0.output }, set: { $0.output = $1 }).withoutEffect(),
        .texts("data.train", isPath: true, \.train), .texts("data.validation", isPath: true, \.validation),
        .number("data.validation_share", 0...0.5, isOpen: true, \.validationShare),
        .integer("data.tokens_a_step", 2...1 << 30, \.tokensAStep),
        .text("tokenizer.path", isPath: true, get: { $0.tokenizer }, set: { $0.tokenizer = $1 }).withoutEffect(),
        .choice("tokenizer.model", \.tokenizerModel), .choice("tokenizer.pattern", \.tokenizerPattern),
        .integer("tokenizer.vocabulary", 257...1 << 22, \.vocabularySize),
        .integer("model.hidden_size", 2...1 << 20, \.shape.hiddenSize),
        .integer("model.layers", 1...10_000, \.shape.layers), .integer("model.heads", 1...1 << 16, \.shape.heads),
        .integer("model.kv_heads", 1...1 << 16, \.shape.kvHeads),
        .integer("model.feed_forward", 1...1 << 22, \.shape.feedForward),
        .integer("model.context", 2...1 << 24, \.shape.context),
        .flag("model.tie_embeddings", \.shape.tiesEmbeddings), .texts("report.prompts", \.prompts),
    ]
}

extension PretrainingRecipe {
    /// The keys of `training` and `early_stopping`, which are those of tuning; the rows of a step follow from its tokens.
    static let trainingKeys = Recipe.keys.filter {
        ["training", "early_stopping"].contains($0.section)
            && !["training.batch_size", "training.gradient_accumulation"].contains($0.path)
    }

    private var asTuning: Recipe {
        Recipe(model: "", output: output, data: DataSettings(train: ""), training: training)
    }

    /// Sets a key of `training` or `early_stopping`.
    mutating func set(_ key: RecipeKey, _ value: RecipeValue) -> Bool {
        var tuning = asTuning
        guard key.set(&tuning, value) else { return false }
        training = tuning.training
        return true
    }

    /// The values that decide what a run learns, by key.
    var decidingValues: [(key: String, value: String)] {
        PretrainingKey.all.filter(\.decidesResult).compactMap { key in key.get(self).map { (key.path, $0.text) } }
            + Self.trainingKeys.filter(\.decidesResult).compactMap { key in
                key.get(asTuning).map { (key.path, $0.text) }
            }
    }

    /// The recipe as YAML, every key that has a value written out and every path resolved.
    public var yaml: String {
        let values =
            PretrainingKey.all.map { ($0.path, $0.get(self)) } + Self.trainingKeys.map { ($0.path, $0.get(asTuning)) }
        var lines: [String] = []
        var section = ""
        for case (let path, let value?) in values {
            let parts = path.split(separator: ".").map(String.init)
            if parts.count == 2, parts[0] != section {
                section = parts[0]
                lines.append("\(section):")
            }
            lines.append((parts.count == 2 ? "  " : "") + "\(parts[parts.count - 1]): \(value.text)")
        }
        return lines.joined(separator: "\n") + "\n"
    }
}
