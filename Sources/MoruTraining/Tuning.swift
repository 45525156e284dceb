import MoruBase
import MoruModels
import MoruNN

/// A run that a recipe describes.
public protocol RecipeTuning {
    /// What to do with a run that the output directory holds already.
    var existingRun: ExistingRun { get set }

    /// Reads the data and takes the run to its end.
    ///
    /// - Parameters:
    ///   - events: Told of everything that happens.
    ///   - isCancelled: Asked often; once true, the run saves a checkpoint and stops.
    /// - Returns: Where the result is, and what the run came to.
    /// - Throws: What is wrong with recipe, data, model or run directory; see ``Trainer/run(in:existing:events:isCancelled:)``.
    func run(
        events: @escaping (TrainingEvent) -> Void, isCancelled: @escaping () -> Bool
    ) throws -> TuningResult

    /// What the run will need; nothing is written.
    ///
    /// - Throws: What is wrong with recipe, data or model; see ``Trainer/estimate(writingTo:)``.
    func estimate() throws -> ResourceEstimate
}

/// Tunes a model that generates as a recipe says.
///
///     let recipe = try Recipe(file: "recipe.yaml")
///     let result = try Tuning(recipe).run { event in print(event) }
///     print(result.directory, result.summary.bestValidationLoss ?? .nan)
public struct Tuning: RecipeTuning {
    /// What to do.
    public let recipe: Recipe
    /// The base model.
    public let model: PretrainedModel
    /// The model that is learnt from, where the recipe asks for one.
    public let teacher: PretrainedModel?
    /// What to do with a run that the output directory holds already.
    public var existingRun = ExistingRun.refuse

    /// Tunes a model that is loaded already, and learns from another where the recipe's objective is distillation.
    public init(_ recipe: Recipe, model: PretrainedModel, teacher: PretrainedModel? = nil) {
        self.recipe = recipe
        self.model = model
        self.teacher = teacher
    }

    /// Tunes the model that the recipe names by its path.
    ///
    /// - Throws: What loading the models throws.
    public init(_ recipe: Recipe) throws {
        let teacher = recipe.objective == .distillation ? recipe.teacher : nil
        self.init(
            recipe, model: try PretrainedModel.load(recipe.model),
            teacher: try teacher.map { try PretrainedModel.load($0) })
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
        try prepared(isCancelled: isCancelled).run(events: events, isCancelled: isCancelled)
    }

    /// Reads the data and makes the model ready, as it is before the run.
    ///
    /// - Throws: What is wrong with recipe, data or model; ``MoruError/Code/runExists``.
    public func prepared(isCancelled: () -> Bool = { false }) throws -> PreparedTuning {
        try RunDirectory.check(recipe.output, existingRun)
        let work = try TuningWork(
            self, cache: recipe.output + "/" + RunDirectory.referenceName, isCancelled: isCancelled)
        return PreparedTuning(recipe: recipe, model: model, existingRun: existingRun, work: work)
    }

    /// What the run will need; nothing is written.
    ///
    /// - Throws: What is wrong with recipe, data or model; see ``Trainer/estimate(writingTo:)``.
    public func estimate() throws -> ResourceEstimate {
        try TuningWork(self, cache: nil).trainer.estimate(writingTo: recipe.output)
    }
}

/// A tuning of which everything is ready but the training.
public struct PreparedTuning {
    /// What to do.
    public let recipe: Recipe
    /// The base model; a method that moves its own weights changes it in place.
    public let model: PretrainedModel
    let existingRun: ExistingRun
    let work: TuningWork

    /// Takes the run to its end.
    ///
    /// - Parameters:
    ///   - events: Told of everything that happens.
    ///   - isCancelled: Asked often; once true, the run saves a checkpoint and stops.
    /// - Returns: Where the result is, and what the run came to.
    /// - Throws: As ``Trainer/run(in:existing:events:isCancelled:)``.
    public func run(
        events: @escaping (TrainingEvent) -> Void = { _ in }, isCancelled: @escaping () -> Bool = { false }
    ) throws -> TuningResult {
        try work.run(recipe, existingRun, events: events, isCancelled: isCancelled)
    }
}

/// What tuning came to.
public struct TuningResult: Sendable, Hashable {
    /// The directory of the best result: an adapter in PEFT's layout, or a model in Hugging Face's.
    public let directory: String
    /// Whether it is an adapter.
    public let isAdapter: Bool
    /// Losses, steps and time.
    public let summary: TrainingSummary
    /// Training examples that were left out because they are too long.
    public let skippedExamples: Int
    /// Training examples that were cut because they are too long.
    public let truncatedExamples: Int
}
