import MoruBase
import MoruModels
import MoruNN

/// Tunes an encoder or a language model to turn texts into vectors, as a recipe says whose objective is embedding.
///
///     let result = try EmbeddingTuning(Recipe(file: "recipe.yaml")).run()
///     let embedder = try TextEmbedder.load(base, adapter: result.directory)
public struct EmbeddingTuning: RecipeTuning {
    /// What to do.
    public let recipe: Recipe
    /// The model that is tuned.
    public let embedder: TextEmbedder
    /// What to do with a run that the output directory holds already.
    public var existingRun = ExistingRun.refuse

    /// Tunes a model.
    ///
    /// - Throws: ``MoruError/Code/recipeValue`` where the recipe pools otherwise than the model says.
    public init(_ recipe: Recipe, embedder: TextEmbedder) throws(MoruError) {
        precondition(recipe.objective == .embedding, "\(recipe.objective.rawValue) learns no vectors")
        self.recipe = recipe
        guard let pooling = recipe.embedding.pooling, embedder.modules.poolings != [pooling] else {
            self.embedder = embedder
            return
        }
        guard !embedder.isModelsOwn else {
            let own = embedder.modules.poolings.map(\.rawValue).joined(separator: ", ")
            throw MoruError(
                .recipeValue, "embedding.pooling is \(pooling.rawValue), but \(embedder.model.path) says \(own) itself",
                remedy: "leave it out")
        }
        self.embedder = TextEmbedder(embedder.model, modules: SentenceModules(poolings: [pooling]))
    }

    /// Tunes the model that the recipe names by its path.
    ///
    /// - Throws: What loading the model throws.
    public init(_ recipe: Recipe) throws(MoruError) {
        try self.init(recipe, embedder: TextEmbedder.load(recipe.model))
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
        let base = embedder.model.base
        if let dtype = recipe.quantize { try base.quantizeLinears(to: dtype) }
        let limit = try recipe.maximumLength(context: base.facts.contextLength)
        let training = try dataset(recipe.data.trainingSources(), limit: limit)
        let validation = try recipe.data.validation.map { try dataset([recipe.data.source($0)], limit: limit) }
        let (method, adapter) = try method()
        let adapted = embedder.adapted(by: adapter)
        let task: any TrainingTask
        if try isScored(training, validation) {
            task = SimilarityTask(embedder: adapted, training: training, validation: validation)
        } else {
            guard recipe.training.batchSize > 1 || training.examples.allSatisfy({ $0.hasNegatives }) else {
                throw MoruError(
                    .recipeValue, "training.batch_size is 1, so a positive has no other text to be compared with",
                    remedy: "raise training.batch_size, or give each record a negative")
            }
            task = EmbeddingTask(
                embedder: adapted, training: training, validation: validation, scale: recipe.embedding.scale)
        }
        return TuningWork(
            recipe, task, method, adapter: adapter,
            notices: [pools, recipe.targetNotice(adapter), training.notice, validation?.notice],
            unused: (training.skippedCount, training.truncatedCount))
    }

    /// Whether the data are pairs with scores, all of them.
    private func isScored(_ training: HeadDataset, _ validation: HeadDataset?) throws(MoruError) -> Bool {
        let examples = training.examples + (validation?.examples ?? [])
        let count = examples.count(where: \.isScored)
        guard count == 0 || count == examples.count else {
            throw MoruError(
                .dataMalformed, "\(training.source): \(count) of \(examples.count) records have a score",
                remedy: "give every record text_a, text_b and score, or anchor and positive")
        }
        return count > 0
    }

    /// How vectors come about, for people.
    private var pools: String {
        let names = embedder.modules.poolings.map(\.rawValue).joined(separator: ", ")
        return "pooling: \(names)" + (embedder.isModelsOwn ? ", as the model says" : "")
    }

    private func dataset(_ sources: [DataSource], limit: Int) throws(MoruError) -> HeadDataset {
        var labelled: [LabelledSource] = []
        for source in sources { labelled.append(try LabelledSource(source, .embedding)) }
        return try HeadDataset(
            labelled, tooLong: recipe.data.tooLong, epochEnd: recipe.data.epochEnd
        ) { record, truncates throws(MoruError) in
            func tokens(_ text: String) throws(MoruError) -> [Int32] {
                try embedder.tokens(of: text, limit: limit, truncates: truncates)
            }
            switch record {
            case .texts(let anchor, let positive, let negatives):
                let anchor = try tokens(anchor)
                var others: [[Int32]] = []
                for text in [positive] + negatives { others.append(try tokens(text)) }
                return HeadExample(tokens: anchor, target: .texts(others))
            case .pair(let first, let second, let score):
                return HeadExample(tokens: try tokens(first), target: .scored(try tokens(second), score: score))
            case .text, .spans, .words: preconditionFailure("a record without another text")
            }
        }
    }

    private func method() throws(MoruError) -> (any TrainingMethod, (any Adapter)?) {
        switch recipe.method {
        case .full: return (try EmbeddingModelMethod(embedder, savingAs: recipe.saveDType), nil)
        case .lastLayers:
            let count = recipe.lastLayers.count
            return (try EmbeddingModelMethod(embedder, lastLayers: count, savingAs: recipe.saveDType), nil)
        case .lora, .ia3, .prompt, .prefix:
            let adapter = try recipe.makeAdapter(for: embedder.model.base, embedder.model.tokenizer)
            let adapted = embedder.adapted(by: adapter)
            return (
                EmbeddingAdapterMethod(embedder: adapted, adapter: adapter, baseModel: recipe.model), adapter
            )
        case .head:
            throw MoruError(
                .methodUnsupported, "the method head moves nothing that sentence encoders keep",
                remedy: "choose an adapter, last_layers or full for the objective embedding")
        }
    }
}

extension HeadExample {
    /// Whether there is a text that does not belong to it.
    fileprivate var hasNegatives: Bool { if case .texts(let texts) = target { texts.count > 1 } else { false } }

    fileprivate var isScored: Bool { if case .scored = target { true } else { false } }
}
