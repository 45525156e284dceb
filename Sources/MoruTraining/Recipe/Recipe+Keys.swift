import MoruBase
import MoruNN
import MoruTensor

extension Recipe {
    /// Every key that a recipe may have, in the order in which recipes are written.
    static let keys: [RecipeKey] = rootKeys + dataKeys + loraKeys + trainingKeys + stoppingKeys + evaluationKeys

    /// The names of the sections.
    static let sections = ["data", "lora", "training", "early_stopping", "evaluation"]

    /// Keys of which a recipe may have one only.
    static let exclusiveKeys = [
        ["training.epochs", "training.steps"], ["training.warmup_steps", "training.warmup_ratio"],
    ]

    private static let rootKeys: [RecipeKey] = [
        // the weights decide, not where they lie; likewise what the files of the data hold
        .text("model", get: { $0.model.isEmpty ? nil : $0.model }, set: { $0.model = $1 }).withoutEffect(),
        .text("output", isPath: true, get: { $0.output }, set: { $0.output = $1 }).withoutEffect(),
        .choice("method", \.method),
    ]

    private static let dataKeys: [RecipeKey] = [
        sourcesKey,
        weightsKey,
        .choice("data.epoch_end", \.data.epochEnd).withoutEffect(),
        .text("data.validation", isPath: true, get: { $0.data.validation }, set: { $0.data.validation = $1 })
            .withoutEffect(),
        .choice("data.format", \.data.format).withoutEffect(),
        fieldsKey,
        .names("data.train_on", allowsEmpty: false, \.data.trainOn).withoutEffect(),
        .text(
            "data.instruction", get: { $0.data.classification.instruction },
            set: { $0.data.classification.instruction = $1 }
        )
        .withoutEffect(),
        .text(
            "data.template", get: { $0.data.classification.template }, set: { $0.data.classification.template = $1 }
        )
        .withoutEffect(),
        .names("data.labels", allowsEmpty: true, \.data.classification.labels).withoutEffect(),
        .integer("data.max_length", 2...1_000_000_000, \.data.maxLength).withoutEffect(),
        .choice("data.too_long", \.data.tooLong).withoutEffect(),
    ]

    /// One path, or a list of them.
    private static let sourcesKey = RecipeKey(
        path: "data.train", expectation: "a path, or a list of paths", isPath: true, decidesResult: false,
        get: { recipe in
            let data = recipe.data
            if data.train.isEmpty { return nil }
            return data.additional.isEmpty
                ? .scalar(data.train, isPlain: false) : .list([data.train] + data.additional)
        },
        set: { recipe, value in
            let paths: [String]
            switch value {
            case .scalar(let path, _): paths = [path]
            case .list(let items): paths = items
            }
            guard let first = paths.first, !paths.contains("") else { return false }
            recipe.data.train = first
            recipe.data.additional = Array(paths.dropFirst())
            return true
        })

    /// A positive number for each source.
    private static let weightsKey = RecipeKey(
        path: "data.weights", expectation: "a list of numbers above 0, one for each source", decidesResult: false,
        get: { $0.data.weights.isEmpty ? nil : .list($0.data.weights.map { "\($0)" }) },
        set: { recipe, value in
            guard case .list(let items) = value else { return false }
            let weights = items.compactMap { Double($0) }.filter { $0 > 0 && $0.isFinite }
            guard weights.count == items.count else { return false }
            recipe.data.weights = weights
            return true
        })

    /// What fields are called in the data, each as `name=field`.
    private static let fieldsKey = RecipeKey(
        path: "data.fields", expectation: "a list such as [prompt=question, completion=answer]", decidesResult: false,
        get: { recipe in
            let fields = recipe.data.fields.sorted { $0.key < $1.key }
            return fields.isEmpty ? nil : .list(fields.map { "\($0.key)=\($0.value)" })
        },
        set: { recipe, value in
            guard case .list(let items) = value else { return false }
            var fields: [String: String] = [:]
            for item in items {
                let parts = item.split(separator: "=", maxSplits: 1).map(String.init)
                guard parts.count == 2 else { return false }
                fields[parts[0]] = parts[1]
            }
            recipe.data.fields = fields
            return true
        })

    private static let loraKeys: [RecipeKey] = [
        .integer("lora.rank", 1...4096, \.lora.rank),
        .number("lora.alpha", 0...Float.infinity, isPositive: true, \.lora.alpha),
        .number("lora.dropout", 0...1, isOpen: true, \.lora.dropout),
        .names("lora.targets", allowsEmpty: false, \.lora.targets),
        .flag("lora.rslora", \.lora.usesRankStabilization),
    ]

    private static let trainingKeys: [RecipeKey] = [
        .integer(
            "training.epochs", 1...1_000_000,
            get: { if case .epochs(let count) = $0.training.length { count } else { nil } },
            set: { $0.training.length = .epochs($1) }),
        .integer(
            "training.steps", 1...1_000_000_000,
            get: { if case .steps(let count) = $0.training.length { count } else { nil } },
            set: { $0.training.length = .steps($1) }),
        .integer("training.batch_size", 1...1_000_000, \.training.batchSize),
        .integer("training.gradient_accumulation", 1...1_000_000, \.training.gradientAccumulation),
        .number("training.learning_rate", 0...Float.infinity, isPositive: true, \.training.learningRate),
        .choice("training.schedule", \.training.schedule),
        .integer(
            "training.warmup_steps", 0...1_000_000_000,
            get: { if case .steps(let count) = $0.training.warmup { count } else { nil } },
            set: { $0.training.warmup = .steps($1) }),
        .number(
            "training.warmup_ratio", 0...1,
            get: { if case .share(let share) = $0.training.warmup { share } else { nil } },
            set: { $0.training.warmup = .share($1) }),
        .number("training.final_learning_rate_ratio", 0...1, \.training.finalLearningRateShare),
        .number("training.decay_ratio", 0...1, \.training.decayShare),
        .choice("training.optimizer", \.training.optimizer.kind),
        .number("training.weight_decay", 0...Float.infinity, \.training.optimizer.weightDecay),
        .number("training.beta1", 0...1, isOpen: true, \.training.optimizer.beta1),
        .number("training.beta2", 0...1, isOpen: true, \.training.optimizer.beta2),
        .number("training.epsilon", 0...Float.infinity, isPositive: true, \.training.optimizer.epsilon),
        .number("training.momentum", 0...1, isOpen: true, \.training.optimizer.momentum),
        .flag("training.nesterov", \.training.optimizer.isNesterov),
        .flag("training.decay_embeddings", \.training.optimizer.decaysEmbeddings),
        .flag("training.decay_vectors", \.training.optimizer.decaysVectors),
        .number("training.layer_decay", 0...1, isPositive: true, \.training.optimizer.layerDecay),
        .number("training.ema_decay", 0...1, isOpen: true, isPositive: true, \.training.averageDecay),
        .number("training.clip_norm", 0...Float.infinity, \.training.clipNorm),
        .integer(
            "training.seed", 0...Int.max, get: { Int(clamping: $0.training.seed) },
            set: { $0.training.seed = UInt64($1) }),
        .integer("training.evaluate_every", 1...Int.max, \.training.evaluateEvery),
        .flag("training.evaluate_at_start", \.training.evaluatesAtStart).withoutEffect(),
        .integer("training.save_every", 1...Int.max, \.training.saveEvery).withoutEffect(),
        .integer("training.log_every", 1...Int.max, \.training.logEvery).withoutEffect(),
        .integer("training.keep", 1...Int.max, \.training.keep).withoutEffect(),
        .choice("training.precision", \.training.precision, among: [.automatic, .f32]),
    ]

    private static let stoppingKeys: [RecipeKey] = [
        .integer("early_stopping.patience", 1...1_000_000_000, \.training.earlyStopping.patience),
        .text(
            "early_stopping.metric", get: { $0.training.earlyStopping.metric },
            set: { $0.training.earlyStopping.metric = $1 }),
        .number("early_stopping.min_delta", 0...Float.infinity, \.training.earlyStopping.minDelta),
        .choice("early_stopping.mode", \.training.earlyStopping.mode),
    ]

    private static let evaluationKeys: [RecipeKey] = [
        .text("evaluation.data", isPath: true, get: { $0.evaluation.data }, set: { $0.evaluation.data = $1 })
            .withoutEffect(),
        .integer("evaluation.max_tokens", 1...Int.max, \.evaluation.maxTokens).withoutEffect(),
        .names("evaluation.labels", allowsEmpty: true, \.evaluation.labels).withoutEffect(),
    ]

    /// The values that decide what a run learns, by key.
    var decidingValues: [(key: String, value: String)] {
        Self.keys.filter(\.decidesResult).compactMap { key in key.get(self).map { (key.path, $0.text) } }
    }

    /// The recipe as YAML, every key written out and every path resolved.
    public var yaml: String {
        var lines: [String] = []
        var section = ""
        for key in Self.keys {
            guard let value = key.get(self) else { continue }
            if key.section != section {
                section = key.section
                lines.append("\(section):")
            }
            lines.append((section.isEmpty ? "" : "  ") + "\(key.name): \(value.text)")
        }
        return lines.joined(separator: "\n") + "\n"
    }
}
