import MoruBase
import MoruModels
import MoruNN

/// Tunes a model as a recipe says.
///
///     let recipe = try Recipe(file: "recipe.yaml")
///     let result = try Tuning(recipe).run { event in print(event) }
///     print(result.adapterDirectory, result.summary.bestValidationLoss ?? .nan)
public struct Tuning {
    /// What to do.
    public let recipe: Recipe
    /// The base model.
    public let model: PretrainedModel
    /// What to do with a run that the output directory holds already.
    public var existingRun = ExistingRun.refuse

    /// Tunes a model that is loaded already.
    public init(_ recipe: Recipe, model: PretrainedModel) {
        self.recipe = recipe
        self.model = model
    }

    /// Tunes the model that the recipe names by its path.
    ///
    /// - Throws: What loading the model throws.
    public init(_ recipe: Recipe) throws {
        self.init(recipe, model: try PretrainedModel.load(recipe.model))
    }

    /// Reads the data and takes the run to its end.
    ///
    /// - Parameters:
    ///   - events: Told of everything that happens.
    ///   - isCancelled: Asked often; once true, the run saves a checkpoint and stops.
    /// - Returns: Where the adapter is, and what the run came to.
    /// - Throws: What is wrong with recipe, data, model or run directory; see ``Trainer/run(in:existing:events:isCancelled:)``.
    public func run(
        events: @escaping (TrainingEvent) -> Void = { _ in }, isCancelled: @escaping () -> Bool = { false }
    ) throws -> TuningResult {
        let training = try dataset(recipe.data.trainingSources())
        let validation = try recipe.data.validation.map { try dataset([recipe.data.source($0)]) }
        let adapter: LoRAAdapter
        do {
            adapter = try LoRAAdapter(recipe.lora, adapting: model.model.linears, seed: recipe.training.seed)
        } catch {
            throw error.within("lora.targets")
        }
        let task = LanguageModelTask(model: model.model, adapter: adapter, training: training, validation: validation)
        var trainer = Trainer(
            task: task, method: AdapterMethod(adapter: adapter, baseModel: recipe.model), settings: recipe.training)
        trainer.identity = recipe.decidingValues
        trainer.recipe = recipe.yaml
        trainer.notices = [training, validation].compactMap { $0?.notice }
        let summary = try trainer.run(
            in: recipe.output, existing: existingRun, events: events, isCancelled: isCancelled)
        return TuningResult(
            adapterDirectory: recipe.output + "/adapter", summary: summary, skippedExamples: training.skippedCount,
            truncatedExamples: training.truncatedCount)
    }

    private func dataset(_ sources: [DataSource]) throws(MoruError) -> TokenizedDataset {
        let context = model.model.facts.contextLength
        if let wanted = recipe.data.maxLength, wanted > context {
            throw MoruError(
                .recipeValue, "data.max_length is \(wanted), the model's context is \(context) tokens",
                remedy: "lower data.max_length to at most \(context)")
        }
        var encoder = ExampleEncoder(model)
        encoder.learned = recipe.data.learned
        let dataset = try TokenizedDataset(
            sources: sources, encoder: encoder, maxLength: recipe.data.maxLength ?? context,
            tooLong: recipe.data.tooLong, epochEnd: recipe.data.epochEnd)
        let size = model.model.facts.vocabularySize
        if let id = dataset.examples.lazy.flatMap(\.tokens).first(where: { $0 < 0 || $0 >= size }) {
            throw MoruError(
                .tokenizerMismatch, "\(model.path): the tokenizer gives the id \(id), the model has \(size) ids",
                remedy: "use the tokenizer that belongs to the model")
        }
        return dataset
    }
}

/// What tuning came to.
public struct TuningResult: Sendable, Hashable {
    /// The directory of the best adapter, in PEFT's layout.
    public let adapterDirectory: String
    /// Losses, steps and time.
    public let summary: TrainingSummary
    /// Training examples that were left out because they are too long.
    public let skippedExamples: Int
    /// Training examples that were cut because they are too long.
    public let truncatedExamples: Int
}

extension TokenizedDataset {
    /// What the reader should know of examples that were not used as they are; nil when all were.
    var notice: String? {
        var parts: [String] = []
        if skippedCount > 0 { parts.append("\(skippedCount) examples were left out") }
        if truncatedCount > 0 { parts.append("\(truncatedCount) examples were cut") }
        return parts.isEmpty ? nil : "\(source): \(parts.joined(separator: ", ")) because they are too long"
    }
}
