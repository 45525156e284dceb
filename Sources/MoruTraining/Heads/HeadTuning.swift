import MoruBase
import MoruModels
import MoruNN

/// Tunes a model with a head as a recipe says whose objective is classification, extraction or regression.
///
///     let result = try HeadTuning(Recipe(file: "recipe.yaml")).run()
///     let model = try HeadedModel.load(base, adapter: result.directory)
public struct HeadTuning {
    /// What to do.
    public let recipe: Recipe
    /// The model that the head is put on.
    public let trunk: PretrainedTextModel
    /// What to do with a run that the output directory holds already.
    public var existingRun = ExistingRun.refuse

    /// Tunes a model that was opened for a head.
    public init(_ recipe: Recipe, trunk: PretrainedTextModel) {
        precondition(recipe.objective.learnsHead, "\(recipe.objective.rawValue) learns no head")
        self.recipe = recipe
        self.trunk = trunk
    }

    /// Tunes the model that the recipe names by its path.
    ///
    /// - Throws: What loading the model throws.
    public init(_ recipe: Recipe) throws {
        self.init(recipe, trunk: try PretrainedTextModel.load(recipe.model, forHead: true))
    }

    /// Reads the data and takes the run to its end.
    ///
    /// - Parameters:
    ///   - events: Told of everything that happens.
    ///   - isCancelled: Asked often; once true, the run saves a checkpoint and stops.
    /// - Returns: Where the result is, and what the run came to.
    /// - Throws: What is wrong with recipe, data, model or run directory; see ``Trainer/run(in:existing:events:isCancelled:)``.
    public func run(
        events: @escaping (TrainingEvent) -> Void = { _ in }, isCancelled: @escaping () -> Bool = { false }
    ) throws -> TuningResult {
        try RunDirectory.check(recipe.output, existingRun)
        var (trainer, data) = try trainer()
        trainer.estimates = true
        let summary = try trainer.run(
            in: recipe.output, existing: existingRun, events: events, isCancelled: isCancelled)
        return TuningResult(
            directory: "\(recipe.output)/\(trainer.method.resultName)", isAdapter: trainer.method is HeadAdapterMethod,
            summary: summary, skippedExamples: data.skippedCount, truncatedExamples: data.truncatedCount)
    }

    /// What the run will need; nothing is written.
    ///
    /// - Throws: What is wrong with recipe, data or model; see ``Trainer/estimate(writingTo:)``.
    public func estimate() throws -> ResourceEstimate { try trainer().trainer.estimate(writingTo: recipe.output) }

    private func trainer() throws -> (trainer: Trainer, training: HeadDataset) {
        if let dtype = recipe.quantize { try trunk.base.quantizeLinears(to: dtype) }
        let data = try HeadData(recipe)
        let model = try HeadedModel.start(trunk, head: data.head, seed: recipe.training.seed)
        let limit = try maximumLength()
        let training = try data.training(for: model, limit: limit)
        let validation = try data.validation(for: model, limit: limit)
        let (method, adapter, notice) = try method(for: model)
        var trainer = Trainer(
            task: HeadTask(model: model.adapted(by: adapter), training: training.data, validation: validation?.data),
            method: method, settings: recipe.training)
        trainer.identity = recipe.decidingValues
        trainer.recipe = recipe.yaml
        trainer.notices =
            [notice]
            + [
                recipe.targetNotice(adapter), training.data.notice, training.notice, validation?.data.notice,
                validation?.notice,
            ]
            .compactMap { $0 }
        return (trainer, training.data)
    }

    /// The most tokens of a text.
    private func maximumLength() throws(MoruError) -> Int {
        let taken = [.prompt, .prefix].contains(recipe.method) ? recipe.virtualTokens.count : 0
        return try recipe.maximumLength(context: max(0, trunk.base.facts.contextLength - taken))
    }

    private func method(
        for model: HeadedModel
    ) throws(MoruError) -> (any TrainingMethod, (any Adapter)?, notice: String) {
        let labels = "labels: " + model.configuration.labels.joined(separator: ", ")
        let notice = labels + (model.isFresh ? "" : " (the model's own head goes on learning)")
        let (seed, tokens) = (recipe.training.seed, recipe.virtualTokens)
        let adapter: any Adapter
        switch recipe.method {
        case .full: return (try HeadModelMethod(model, .full, savingAs: recipe.saveDType), nil, notice)
        case .head: return (try HeadModelMethod(model, .head, savingAs: recipe.saveDType), nil, notice)
        case .lastLayers:
            let extent = HeadModelMethod.Extent.lastLayers(recipe.lastLayers.count)
            return (try HeadModelMethod(model, extent, savingAs: recipe.saveDType), nil, notice)
        case .lora: adapter = try LoRAAdapter(recipe.lora, adapting: trunk.base.linears, seed: seed)
        case .ia3: adapter = try IA3Adapter(recipe.ia3, adapting: trunk.base.linears)
        case .prompt:
            adapter = try PromptTuningAdapter(tokens: tokens.count, start: tokens.start, for: decoder(), seed: seed)
        case .prefix:
            adapter = try PrefixTuningAdapter(tokens: tokens.count, start: tokens.start, for: decoder(), seed: seed)
        }
        return (HeadAdapterMethod(model, adapter: adapter, baseModel: recipe.model), adapter, notice)
    }

    /// The model as virtual tokens need it.
    private func decoder() throws(MoruError) -> PretrainedModel {
        guard let model = trunk.base as? any LanguageModel else {
            throw MoruError(
                .methodUnsupported,
                "\(trunk.path) is an encoder, whose heads look at its first token: none can stand before it",
                remedy: "tune it with lora, last_layers, full or head")
        }
        return PretrainedModel(
            model: model, tokenizer: trunk.tokenizer, chatTemplate: nil, generationDefaults: GenerationDefaults(),
            path: trunk.path, storageDescription: trunk.storageDescription, license: trunk.license)
    }
}

extension Recipe {
    /// The most tokens of a text, for a model that takes so many.
    ///
    /// - Throws: ``MoruError/Code/recipeValue`` where the recipe wants more.
    func maximumLength(context: Int) throws(MoruError) -> Int {
        guard let wanted = data.maxLength else { return context }
        guard wanted <= context else {
            throw MoruError(
                .recipeValue, "data.max_length is \(wanted), the model's context is \(context) tokens",
                remedy: "lower data.max_length to at most \(context)")
        }
        return wanted
    }
}
