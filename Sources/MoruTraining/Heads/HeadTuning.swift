import MoruBase
import MoruModels
import MoruNN

/// Tunes a model with a head as a recipe says whose objective is classification, extraction or regression.
///
///     let result = try HeadTuning(Recipe(file: "recipe.yaml")).run()
///     let model = try HeadedModel.load(base, adapter: result.directory)
public struct HeadTuning: RecipeTuning {
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

    /// Reads the data and takes the run to its end; see ``RecipeTuning/run(events:isCancelled:)``.
    public func run(
        events: @escaping (TrainingEvent) -> Void = { _ in }, isCancelled: @escaping () -> Bool = { false }
    ) throws -> TuningResult {
        try RunDirectory.check(recipe.output, existingRun)
        return try work().run(recipe, existingRun, events: events, isCancelled: isCancelled)
    }

    /// What the run will need; see ``RecipeTuning/estimate()``.
    public func estimate() throws -> ResourceEstimate { try work().trainer.estimate(writingTo: recipe.output) }

    private func work() throws -> TuningWork {
        if let dtype = recipe.quantize { try trunk.base.quantizeLinears(to: dtype) }
        let data = try HeadData(recipe)
        let model = try HeadedModel.start(trunk, head: data.head, seed: recipe.training.seed)
        let limit = try recipe.maximumLength(context: trunk.base.facts.contextLength)
        let training = try data.training(for: model, limit: limit)
        let validation = try data.validation(for: model, limit: limit)
        let (method, adapter, notice) = try method(for: model)
        return TuningWork(
            recipe,
            HeadTask(model: model.adapted(by: adapter), training: training.data, validation: validation?.data),
            method, adapter: adapter,
            notices: [
                notice, recipe.targetNotice(adapter), training.data.notice, training.notice, validation?.data.notice,
                validation?.notice,
            ],
            unused: (training.data.skippedCount, training.data.truncatedCount))
    }

    private func method(
        for model: HeadedModel
    ) throws(MoruError) -> (any TrainingMethod, (any Adapter)?, notice: String) {
        let labels = "labels: " + model.configuration.labels.joined(separator: ", ")
        let notice = labels + (model.isFresh ? "" : " (the model's own head is trained further)")
        switch recipe.method {
        case .full: return (try HeadModelMethod(model, .full, savingAs: recipe.saveDType), nil, notice)
        case .head: return (try HeadModelMethod(model, .head, savingAs: recipe.saveDType), nil, notice)
        case .lastLayers:
            let extent = HeadModelMethod.Extent.lastLayers(recipe.lastLayers.count)
            return (try HeadModelMethod(model, extent, savingAs: recipe.saveDType), nil, notice)
        case .lora, .ia3, .prompt, .prefix:
            let adapter = try recipe.makeAdapter(for: trunk.base, trunk.tokenizer)
            return (HeadAdapterMethod(model, adapter: adapter, baseModel: recipe.model), adapter, notice)
        }
    }
}
