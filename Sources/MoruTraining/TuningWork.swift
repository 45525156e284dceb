import MoruBase
import MoruModels
import MoruNN
import MoruText

/// What a recipe comes to: a trainer of its task and method over its data.
struct TuningWork {
    var trainer: Trainer
    let isAdapter: Bool
    let skipped: Int, truncated: Int

    /// - Parameters:
    ///   - adapter: What moves, where it is an adapter.
    ///   - notices: What the reader should know; nothing where nil.
    ///   - unused: Training examples that were left out, and that were cut.
    init(
        _ recipe: Recipe, _ task: any TrainingTask, _ method: any TrainingMethod, adapter: (any Adapter)?,
        notices: [String?], unused: (skipped: Int, truncated: Int)
    ) {
        trainer = Trainer(task: task, method: method, settings: recipe.training)
        trainer.identity = recipe.decidingValues
        trainer.recipe = recipe.yaml
        trainer.notices = notices.compactMap { $0 }
        isAdapter = adapter != nil
        (skipped, truncated) = unused
    }

    /// Takes the run to its end.
    func run(
        _ recipe: Recipe, _ existing: ExistingRun, events: @escaping (TrainingEvent) -> Void,
        isCancelled: @escaping () -> Bool
    ) throws -> TuningResult {
        var trainer = trainer
        trainer.estimates = true
        let summary = try trainer.run(in: recipe.output, existing: existing, events: events, isCancelled: isCancelled)
        return TuningResult(
            directory: "\(recipe.output)/\(trainer.method.resultName)", isAdapter: isAdapter, summary: summary,
            skippedExamples: skipped, truncatedExamples: truncated)
    }

    /// Reads the data and makes the trainer.
    ///
    /// - Parameter cache: Where what the reference model thinks of preferences is kept; nil for nowhere.
    /// - Throws: What is wrong with recipe, data or model.
    init(_ tuning: Tuning, cache: String?, isCancelled: () -> Bool = { false }) throws {
        let recipe = tuning.recipe
        if let dtype = recipe.quantize { try tuning.model.model.quantizeLinears(to: dtype) }
        let data = try LearningData(tuning)
        // What the reference thinks is computed before any weight becomes another
        let reference = try data.reference(tuning, cache: cache, isCancelled: isCancelled)
        let (method, adapter) = try tuning.makeMethod()
        let task: any TrainingTask
        switch data {
        case .examples(let training, let validation):
            if recipe.objective == .distillation {
                guard let teacher = tuning.teacher else {
                    throw MoruError(.recipeValue, "the objective is distillation, but there is no teacher")
                }
                task = try DistillationTask(
                    student: tuning.model, adapter: adapter, teacher: teacher, training: training,
                    validation: validation, settings: recipe.distillation)
            } else {
                task = LanguageModelTask(
                    model: tuning.model.model, adapter: adapter, training: training, validation: validation)
            }
        case .pairs(let training, let validation):
            guard let reference else { preconditionFailure("pairs have a reference") }
            task = try PreferenceTask(
                model: tuning.model.model, adapter: adapter, training: training, validation: validation,
                reference: reference, settings: recipe.preference)
        }
        self.init(
            recipe, task, method, adapter: adapter, notices: [recipe.targetNotice(adapter)] + data.notices,
            unused: data.unused)
    }
}

/// The data of a recipe.
private enum LearningData {
    case examples(TokenizedDataset, TokenizedDataset?)
    case pairs(PreferenceDataset, PreferenceDataset?)

    init(_ tuning: Tuning) throws(MoruError) {
        let data = tuning.recipe.data
        let limit = try tuning.recipe.maximumLength(context: tuning.model.model.facts.contextLength)
        let validation = data.validation.map { [data.source($0)] }
        var encoder = ExampleEncoder(tuning.model)
        encoder.learned = data.learned
        if tuning.recipe.objective == .dpo {
            func pairs(_ sources: [DataSource]) throws(MoruError) -> PreferenceDataset {
                let pairs = try PreferenceDataset(
                    sources: sources, encoder: encoder, maxLength: limit, tooLong: data.tooLong, epochEnd: data.epochEnd
                )
                for pair in pairs.pairs { try tuning.requireKnownTokens([pair.chosen, pair.rejected]) }
                return pairs
            }
            let training = try pairs(data.trainingSources())
            self = .pairs(training, try validation.map { sources throws(MoruError) in try pairs(sources) })
        } else {
            func examples(_ sources: [DataSource]) throws(MoruError) -> TokenizedDataset {
                let examples = try TokenizedDataset(
                    sources: sources, encoder: encoder, maxLength: limit, tooLong: data.tooLong, epochEnd: data.epochEnd
                )
                try tuning.requireKnownTokens(examples.examples)
                return examples
            }
            let training = try examples(data.trainingSources())
            self = .examples(training, try validation.map { sources throws(MoruError) in try examples(sources) })
        }
    }

    /// What the model as it is thinks of pairs; nil for examples.
    func reference(
        _ tuning: Tuning, cache: String?, isCancelled: () -> Bool
    ) throws -> PreferenceReference? {
        guard case .pairs(let training, let validation) = self else { return nil }
        // What the run compares with must be rounded as the run rounds
        return try tuning.recipe.training.withProducts {
            try PreferenceReference(
                of: tuning.model.model, training: training, validation: validation, cache: cache,
                pairsAtATime: tuning.recipe.training.batchSize, isCancelled: isCancelled)
        }
    }

    /// Training examples that were left out, and that were cut.
    var unused: (skipped: Int, truncated: Int) {
        switch self {
        case .examples(let training, _): (training.skippedCount, training.truncatedCount)
        case .pairs(let training, _): (training.skippedCount, training.truncatedCount)
        }
    }

    /// What the reader should know of examples that were not used as they are.
    var notices: [String] {
        switch self {
        case .examples(let training, let validation): [training, validation].compactMap { $0?.notice }
        case .pairs(let training, let validation): [training, validation].compactMap { $0?.notice }
        }
    }
}

extension TokenizedDataset {
    /// What the reader should know of examples that were not used as they are; nil when all were.
    var notice: String? { unusedNotice(source, skipped: skippedCount, truncated: truncatedCount) }
}

extension PreferenceDataset {
    /// What the reader should know of pairs that were not used as they are; nil when all were.
    var notice: String? { unusedNotice(source, skipped: skippedCount, truncated: truncatedCount) }
}

func unusedNotice(_ source: String, skipped: Int, truncated: Int) -> String? {
    var parts: [String] = []
    if skipped > 0 { parts.append("\(skipped) examples were left out") }
    if truncated > 0 { parts.append("\(truncated) examples were cut") }
    return parts.isEmpty ? nil : "\(source): \(parts.joined(separator: ", ")) because they are too long"
}

extension Recipe {
    /// The most tokens of an example, for a model that takes so many.
    ///
    /// - Throws: ``MoruError/Code/recipeValue`` where the recipe wants more.
    func maximumLength(context: Int) throws(MoruError) -> Int {
        let taken = [.prompt, .prefix].contains(method) ? virtualTokens.count : 0
        let context = max(0, context - taken)
        guard let wanted = data.maxLength else { return context }
        guard wanted <= context else {
            throw MoruError(
                .recipeValue,
                "data.max_length is \(wanted), the model's context is \(context) tokens"
                    + (taken > 0 ? " beside \(taken) virtual ones" : ""),
                remedy: "lower data.max_length to at most \(context)")
        }
        return wanted
    }

    /// The fresh adapter that the method trains, which must be one of an adapter.
    func makeAdapter(for model: any TextModel, _ tokenizer: Tokenizer) throws(MoruError) -> any Adapter {
        let (seed, tokens) = (training.seed, virtualTokens)
        switch method {
        case .lora: return try LoRAAdapter(lora, adapting: model.linears, seed: seed)
        case .ia3: return try IA3Adapter(ia3, adapting: model.linears)
        case .prompt:
            return try PromptTuningAdapter(
                tokens: tokens.count, start: tokens.start, for: model, tokenizer, seed: seed)
        case .prefix:
            return try PrefixTuningAdapter(
                tokens: tokens.count, start: tokens.start, for: model, tokenizer, seed: seed)
        case .full, .lastLayers, .head: preconditionFailure("\(method.rawValue) trains no adapter")
        }
    }

    /// The layers that an adapter took where the recipe leaves the choice open; nil where it names them.
    func targetNotice(_ adapter: (any Adapter)?) -> String? {
        switch adapter {
        case let adapter as LoRAAdapter where adapter.configuration.targets != lora.targets:
            return "LoRA on the layers \(adapter.configuration.targets.joined(separator: ", "))"
        case let adapter as IA3Adapter where adapter.configuration != ia3:
            let scaled = adapter.configuration.inputTargets
            return "(IA)3 on the layers \(adapter.configuration.targets.joined(separator: ", "))"
                + (scaled.isEmpty ? "" : ", by the input of \(scaled.joined(separator: ", "))")
        default: return nil
        }
    }
}

extension Tuning {
    /// What moves, and the adapter where it is one.
    fileprivate func makeMethod() throws(MoruError) -> (method: any TrainingMethod, adapter: (any Adapter)?) {
        do throws(MoruError) {
            switch recipe.method {
            case .lora, .ia3, .prompt, .prefix:
                let adapter = try recipe.makeAdapter(for: model.model, model.tokenizer)
                return (AdapterMethod(adapter: adapter, baseModel: recipe.model), adapter)
            case .full: return (try FullMethod(model, savingAs: recipe.saveDType), nil)
            case .lastLayers:
                let last = recipe.lastLayers
                let method = try LastLayersMethod(
                    model, count: last.count, includesHead: last.includesHead, savingAs: recipe.saveDType)
                return (method, nil)
            case .head:
                throw MoruError(
                    .recipeValue, "the objective \(recipe.objective.rawValue) has no head",
                    remedy: "choose the objective classification, extraction or regression, or another method")
            }
        } catch {
            let places: [Recipe.Method: String] = [
                .lora: "lora.targets", .ia3: "ia3.targets", .prompt: "virtual_tokens", .prefix: "virtual_tokens",
                .lastLayers: "last_layers.count",
            ]
            throw error.within(places[recipe.method] ?? "method")
        }
    }

    /// Refuses ids that the model does not have.
    fileprivate func requireKnownTokens(_ examples: [TokenizedExample]) throws(MoruError) {
        let size = model.model.facts.vocabularySize
        for example in examples {
            guard let id = example.tokens.first(where: { $0 < 0 || $0 >= size }) else { continue }
            throw MoruError(
                .tokenizerMismatch, "\(model.path): the tokenizer gives the id \(id), the model has \(size) ids",
                remedy: "use the tokenizer that belongs to the model")
        }
    }
}
