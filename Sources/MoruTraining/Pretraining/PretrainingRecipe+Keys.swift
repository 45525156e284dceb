import MoruBase
import MoruText

/// A key that a recipe for training from scratch may have, besides those of `training` and `early_stopping`.
struct PretrainingKey: Sendable {
    /// The path from the root, joined by dots.
    let path: String
    /// What a value must be, to end the sentence "it must be ...".
    let expectation: String
    var choices: [String] = []
    var isPath = false
    /// Whether a change of the value makes another run of it.
    var decidesResult = true
    let get: @Sendable (PretrainingRecipe) -> RecipeValue?
    let set: @Sendable (inout PretrainingRecipe, RecipeValue) -> Bool
}

extension PretrainingKey {
    typealias Place<Value> = WritableKeyPath<PretrainingRecipe, Value> & Sendable

    private static func choice<Value: RawRepresentable & CaseIterable & Sendable>(
        _ path: String, _ place: any Place<Value>
    ) -> PretrainingKey where Value.RawValue == String {
        let names = Value.allCases.map(\.rawValue)
        return PretrainingKey(
            path: path, expectation: "one of " + names.joined(separator: ", "), choices: names,
            get: { .scalar($0[keyPath: place].rawValue, isPlain: true) },
            set: { recipe, value in
                guard case .scalar(let text, _) = value, let choice = Value(rawValue: text) else { return false }
                recipe[keyPath: place] = choice
                return true
            })
    }

    private static func integer(
        _ path: String, _ range: ClosedRange<Int>, _ place: any Place<Int?>
    ) -> PretrainingKey {
        PretrainingKey(
            path: path, expectation: "an integer from \(range.lowerBound) to \(range.upperBound)",
            get: { $0[keyPath: place].map { .scalar(String($0), isPlain: true) } },
            set: { recipe, value in
                guard case .scalar(let text, true) = value, let number = Int(text), range.contains(number) else {
                    return false
                }
                recipe[keyPath: place] = number
                return true
            })
    }

    private static func texts(_ path: String, isPath: Bool, _ place: any Place<[String]>) -> PretrainingKey {
        PretrainingKey(
            path: path, expectation: isPath ? "a path or a list of paths" : "a text or a list of texts", isPath: isPath,
            decidesResult: false, get: { $0[keyPath: place].isEmpty ? nil : .list($0[keyPath: place]) },
            set: { recipe, value in
                switch value {
                case .scalar(let text, _): recipe[keyPath: place] = [text]
                case .list(let items): recipe[keyPath: place] = items
                }
                return !recipe[keyPath: place].contains("")
            })
    }

    private static func path(
        _ path: String, get: @escaping @Sendable (PretrainingRecipe) -> String?,
        set: @escaping @Sendable (inout PretrainingRecipe, String) -> Void
    ) -> PretrainingKey {
        PretrainingKey(
            path: path, expectation: "a path", isPath: true, decidesResult: false,
            get: { get($0).map { .scalar($0, isPlain: false) } },
            set: { recipe, value in
                guard case .scalar(let text, _) = value, !text.isEmpty else { return false }
                set(&recipe, text)
                return true
            })
    }

    static let all: [PretrainingKey] = [
        .choice("architecture", \.architecture), .choice("size", \.size),
        .path("output", get: { $0.output }, set: { $0.output = $1 }),
        .texts("data.train", isPath: true, \.train), .texts("data.validation", isPath: true, \.validation),
        PretrainingKey(
            path: "data.validation_share", expectation: "a number from 0 to below 0.5",
            get: { .scalar("\($0.validationShare)", isPlain: true) },
            set: { recipe, value in
                guard case .scalar(let text, true) = value, let share = Float(text), 0..<0.5 ~= share else {
                    return false
                }
                recipe.validationShare = share
                return true
            }),
        .integer("data.tokens_a_step", 2...1 << 30, \.tokensAStep),
        .path("tokenizer.path", get: { $0.tokenizer }, set: { $0.tokenizer = $1 }),
        .choice("tokenizer.model", \.tokenizerModel), .choice("tokenizer.pattern", \.tokenizerPattern),
        .integer("tokenizer.vocabulary", 257...1 << 22, \.vocabularySize),
        .integer("model.hidden_size", 2...1 << 20, \.shape.hiddenSize),
        .integer("model.layers", 1...10_000, \.shape.layers), .integer("model.heads", 1...1 << 16, \.shape.heads),
        .integer("model.kv_heads", 1...1 << 16, \.shape.kvHeads),
        .integer("model.feed_forward", 1...1 << 22, \.shape.feedForward),
        .integer("model.context", 2...1 << 24, \.shape.context),
        PretrainingKey(
            path: "model.tie_embeddings", expectation: "true or false", choices: ["true", "false"],
            get: { .scalar(String($0.shape.tiesEmbeddings), isPlain: true) },
            set: { recipe, value in
                guard case .scalar(let text, true) = value, let flag = Bool(text) else { return false }
                recipe.shape.tiesEmbeddings = flag
                return true
            }),
        .texts("report.prompts", isPath: false, \.prompts),
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
