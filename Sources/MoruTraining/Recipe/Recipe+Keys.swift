import MoruBase
import MoruModels
import MoruNN
import MoruTensor

extension Recipe {
    /// Every key that a recipe may have, in the order in which recipes are written.
    static let keys: [RecipeKey] = rootKeys + dataKeys + methodKeys + trainingKeys + stoppingKeys + evaluationKeys

    /// The names of the sections, in order.
    static let sections = keys.map(\.section).reduce(into: [String]()) { names, section in
        if !section.isEmpty, names.last != section { names.append(section) }
    }

    /// Keys of which a recipe may have one only.
    static let exclusiveKeys = [
        ["training.epochs", "training.steps"],
        ["training.warmup_steps", "training.warmup_ratio"],
    ]

    private static let rootKeys: [RecipeKey] = [
        // the weights decide, not where they lie; likewise what the files of the data hold
        .text("model", get: { $0.model.isEmpty ? nil : $0.model }, set: { $0.model = $1 }).withoutEffect(),
        .text("output", isPath: true, get: { $0.output }, set: { $0.output = $1 }).withoutEffect(),
        .choice("method", \.method),
        .choice("objective", \.objective),
        .choice("quantize", \.quantize, among: DType.allCases.filter { $0.isQuantized && $0.isWritable }),
        .choice("save_dtype", \.saveDType, among: [.f32, .bf16, .f16]).withoutEffect(),
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
            "data.instruction", expectation: "a text", get: { $0.data.classification.instruction },
            set: { $0.data.classification.instruction = $1 }
        )
        .withoutEffect(),
        .text(
            "data.template", expectation: "a text", get: { $0.data.classification.template },
            set: { $0.data.classification.template = $1 }
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

    private static let methodKeys: [RecipeKey] = [
        .integer("lora.rank", 1...4096, \.lora.rank),
        .number("lora.alpha", 0...Float.infinity, isPositive: true, \.lora.alpha),
        .number("lora.dropout", 0...1, isOpen: true, \.lora.dropout),
        .names("lora.targets", allowsEmpty: false, \.lora.targets),
        .flag("lora.rslora", \.lora.usesRankStabilization),
        .flag("lora.dora", \.lora.decomposesWeights),
        .names("ia3.targets", allowsEmpty: false, \.ia3.targets),
        .names("ia3.input_targets", allowsEmpty: true, \.ia3.inputTargets),
        .integer("virtual_tokens.count", 1...100_000, \.virtualTokens.count),
        .text(
            "virtual_tokens.text", expectation: "a text or null",
            get: { if case .text(let text) = $0.virtualTokens.start { text } else { nil } },
            set: { $0.virtualTokens.start = .text($1) }
        ).orNull { $0.virtualTokens.start = .random },
        .integer("last_layers.count", 1...10_000, \.lastLayers.count),
        .flag("last_layers.head", \.lastLayers.includesHead),
        .number("dpo.beta", 0...Float.infinity, isPositive: true, \.preference.beta),
        .number("dpo.label_smoothing", 0...0.5, isOpen: true, \.preference.labelSmoothing),
        .text("distillation.teacher", get: { $0.teacher }, set: { $0.teacher = $1 }).withoutEffect(),
        .number("distillation.temperature", 0...Float.infinity, isPositive: true, \.distillation.temperature),
        .number("distillation.soft_share", 0...1, \.distillation.softShare),
        .integer("distillation.top_k", 1...1_000_000_000, \.distillation.topK),
        .number("head.dropout", 0...1, isOpen: true, \.headDropout),
        .choice("embedding.pooling", \.embedding.pooling, among: SentenceModules.Pooling.allCases),
        .number("embedding.scale", 0...Float.infinity, isPositive: true, \.embedding.scale),
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
        .choice("training.precision", \.training.precision, among: [.automatic, .bf16, .f32]),
        .flag("training.recompute", \.training.recomputesActivations).withoutEffect(),
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
        RecipeKey(
            path: "evaluation.gates", expectation: "a list of conditions such as accuracy >= 0.8", decidesResult: false,
            get: { .list($0.evaluation.gates) },
            set: { recipe, value in
                recipe.evaluation.gates = value.items
                return !value.items.contains("")
            }),
    ]

    /// The values that decide what a run learns, by key.
    var decidingValues: [(key: String, value: String)] {
        Self.keys.filter(\.decidesResult).compactMap { key in key.get(self).map { (key.path, $0.text) } }
    }

    /// Whether a section is what this recipe's method or objective reads; nil for a section that every recipe has.
    func reads(section: String) -> Bool? {
        switch section {
        case "lora": method == .lora
        case "ia3": method == .ia3
        case "virtual_tokens": method == .prompt || method == .prefix
        case "last_layers": method == .lastLayers
        case "dpo": objective == .dpo
        case "distillation": objective == .distillation
        case "head": objective.learnsHead
        case "embedding": objective == .embedding
        default: nil
        }
    }

    /// Whether a key means something in this recipe, or says something all the same.
    func shows(_ key: RecipeKey) -> Bool {
        reads(section: key.section) ?? true || key.get(self) != key.get(Self.defaults)
    }

    /// What a recipe is that says nothing.
    static let defaults = Recipe(model: "", output: "", data: DataSettings(train: ""))

    /// The recipe as YAML, every key written out and every path resolved.
    public var yaml: String {
        var lines: [String] = []
        var section = ""
        for key in Self.keys where shows(key) {
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
