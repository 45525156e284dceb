import Foundation
import MoruBase
import MoruModels
import MoruNN
import MoruTensor
import MoruText

/// Trains a language model from scratch: a tokenizer, the data in shards, the model.
///
///     let recipe = PretrainingRecipe(train: ["corpus/"], output: "runs/first", size: .nano)
///     let result = try Pretraining(recipe).prepared().train { event in print(event) }
///     print(result.modelDirectory, result.bitsPerByte ?? .nan)
///
/// The run directory gets `tokenizer/`, `data/` (token shards), `model/` (the best model so far in Hugging Face layout),
/// and what every run has: `checkpoints/`, `events.jsonl` and `recipe.yaml`.
public struct Pretraining {
    /// What to do.
    public let recipe: PretrainingRecipe
    /// What to do with a run that the output directory holds already.
    public var existingRun = ExistingRun.refuse

    /// Makes a training.
    public init(_ recipe: PretrainingRecipe) { self.recipe = recipe }

    /// What the preparations are doing.
    public enum Preparation: Sendable, Hashable {
        /// The tokenizer is being trained.
        case tokenizer(TokenizerTraining.Progress)
        /// The tokenizer is ready: its directory and its number of ids.
        case tokenizerReady(path: String, vocabularySize: Int)
        /// The data is being tokenised.
        case tokens(TokenShardBuilder.Progress)
    }

    /// What will be trained on what.
    public struct Facts: Sendable, Hashable {
        /// The model's parameters.
        public var parameters: Int
        /// Tokens of the training data, and of what is held out.
        public var trainingTokens: Int, validationTokens: Int
        /// Bytes of text that a token stands for.
        public var bytesPerToken: Double
        /// Bytes for the weights, their gradients and the optimizer's state.
        public var stateBytes: Int
    }

    /// Does what comes before the first step: trains the tokenizer, tokenises the data, makes the model.
    ///
    /// - Parameters:
    ///   - report: Told how far it is.
    ///   - isCancelled: Asked often; once true, the work stops.
    /// - Throws: What is wrong with recipe, data or output directory, or ``MoruError/Code/cancelled``.
    public func prepared(
        report: (Preparation) -> Void = { _ in }, isCancelled: () -> Bool = { false }
    ) throws -> PreparedPretraining {
        let output = recipe.output
        if existingRun == .refuse, FileSystem.exists(output + "/events.jsonl") {
            throw MoruError(
                .runExists, "\(output) holds a run already",
                remedy: "resume it, overwrite it, or choose another output directory")
        }
        try FileSystem.createDirectory(output)
        let (tokenizer, tokenizerPath) = try tokenizer(report, isCancelled)
        report(.tokenizerReady(path: tokenizerPath, vocabularySize: tokenizer.vocabularySize))
        let training = try shards(recipe.train, "train", tokenizer, report, isCancelled)
        let heldOut =
            recipe.validation.isEmpty
            ? nil : try shards(recipe.validation, "validation", tokenizer, report, isCancelled)
        let rows = try rows(training, heldOut)
        let model = try model(tokenizer, tokenizerPath)
        return PreparedPretraining(
            recipe: recipe, existingRun: existingRun, model: model,
            facts: facts(model.model, training, rows.training, rows.validation),
            task: PretrainingTask(
                model: model.model, tokenizer: tokenizer, training: rows.training, validation: rows.validation))
    }

    private func sources(_ paths: [String]) -> [DataSource] { paths.map { DataSource($0) } }

    /// The tokenizer of the recipe, or one that is trained; a resumed run takes the one that it has.
    private func tokenizer(
        _ report: (Preparation) -> Void, _ isCancelled: () -> Bool
    ) throws -> (Tokenizer, path: String) {
        if let path = recipe.tokenizer { return (try Tokenizer.load(directory: path).tokenizer, path) }
        let path = recipe.output + "/tokenizer"
        if existingRun == .resume, FileSystem.exists(path + "/tokenizer_config.json") {
            return (try Tokenizer.load(directory: path).tokenizer, path)
        }
        let training = TokenizerTraining(
            model: recipe.tokenizerModel, vocabularySize: recipe.wantedVocabulary, pattern: recipe.tokenizerPattern)
        var texts = try TextReader(sources(recipe.train))
        let trained = try training.train(
            progress: { progress in
                report(.tokenizer(progress))
                return !isCancelled()
            }, { () throws(MoruError) in try texts.next() })
        try trained.save(to: path)
        return (trained.tokenizer, path)
    }

    private func shards(
        _ paths: [String], _ name: String, _ tokenizer: Tokenizer, _ report: (Preparation) -> Void,
        _ isCancelled: () -> Bool
    ) throws -> TokenShards {
        let encoder = ExampleEncoder(tokenizer: tokenizer, template: .chatML)
        return try TokenShardBuilder(sources(paths), encoder: encoder).build(
            to: "\(recipe.output)/data/\(name)", overwriting: existingRun != .resume,
            progress: { report(.tokens($0)) }, isCancelled: isCancelled)
    }

    /// The rows that are learnt and those that are measured on: of other data, or the last ones.
    private func rows(
        _ training: TokenShards, _ heldOut: TokenShards?
    ) throws(MoruError) -> (training: any ExampleSet, validation: (any ExampleSet)?) {
        let length = recipe.contextLength
        let packed = try training.packed(length: length)
        if let heldOut { return (packed, try heldOut.packed(length: length)) }
        guard recipe.validationShare > 0 else { return (packed, nil) }
        let count = max(1, Int((Float(packed.count) * recipe.validationShare).rounded()))
        guard packed.count > count else {
            throw MoruError(
                .dataEmpty, "\(training.manifest.tokens) tokens fill \(packed.count) rows of \(length)",
                remedy: "use more text, a smaller model.context, or data.validation")
        }
        return (
            RowRange(whole: packed, range: 0..<packed.count - count),
            RowRange(whole: packed, range: packed.count - count..<packed.count)
        )
    }

    /// A model that has learnt nothing.
    private func model(_ tokenizer: Tokenizer, _ tokenizerPath: String) throws -> PretrainedModel {
        // Whole vectors of logits; ids without a piece are never learnt
        let vocabulary = (tokenizer.vocabularySize + 15) / 16 * 16
        let configuration = recipe.shape.configuration(recipe.architecture, recipe.size, vocabularySize: vocabulary)
        let model = try LanguageModels.build(
            configuration, source: "recipe, model", Weights(RandomWeights(seed: recipe.training.seed)))
        (model as? RecurrentLanguageModel)?.openForgetGates()
        return PretrainedModel(
            model: model, tokenizer: tokenizer, chatTemplate: nil,
            generationDefaults: GenerationDefaults(endIDs: tokenizer.endOfSequence.map { [$0] } ?? []),
            path: tokenizerPath, storageDescription: "safetensors f32", license: nil)
    }

    private func facts(
        _ model: any LanguageModel, _ shards: TokenShards, _ training: any ExampleSet, _ heldOut: (any ExampleSet)?
    ) -> Facts {
        func tokens(_ set: (any ExampleSet)?) -> Int {
            (0..<(set?.count ?? 0)).reduce(0) { $0 + (set?.size(of: $1).inputs ?? 0) }
        }
        return Facts(
            parameters: model.parameterCount, trainingTokens: tokens(training), validationTokens: tokens(heldOut),
            bytesPerToken: Double(shards.manifest.bytes) / Double(max(1, shards.manifest.tokens)),
            stateBytes: model.parameterCount * 16)
    }
}

/// A training from scratch that is ready for its first step.
public struct PreparedPretraining {
    /// What to do.
    public let recipe: PretrainingRecipe
    let existingRun: ExistingRun
    /// The model, which has learnt nothing yet and is changed in place.
    public let model: PretrainedModel
    /// What will be trained on what.
    public let facts: Pretraining.Facts
    let task: PretrainingTask

    /// Takes the training to its end.
    ///
    /// - Parameters:
    ///   - events: Told of everything that happens.
    ///   - isCancelled: Asked often; once true, the run saves a checkpoint and stops.
    /// - Throws: As ``Trainer/run(in:existing:events:isCancelled:)``.
    @discardableResult
    public func train(
        events: @escaping (TrainingEvent) -> Void = { _ in }, isCancelled: @escaping () -> Bool = { false }
    ) throws -> PretrainingResult {
        var trainer = Trainer(task: task, method: try FullMethod(model), settings: recipe.resolvedTraining)
        trainer.identity = recipe.decidingValues
        trainer.recipe = recipe.yaml
        trainer.estimates = true
        let summary = try trainer.run(
            in: recipe.output, existing: existingRun, events: events, isCancelled: isCancelled)
        return PretrainingResult(
            modelDirectory: recipe.output + "/model", summary: summary,
            bitsPerByte: summary.bestValidationLoss.map(task.bitsPerByte), parameters: model.model.parameterCount)
    }
}

/// What a training from scratch came to.
public struct PretrainingResult: Sendable, Hashable {
    /// The best model, in Hugging Face layout.
    public let modelDirectory: String
    /// Losses, steps and time.
    public let summary: TrainingSummary
    /// Bits that the model needs for a byte of the held-out text; nil without any.
    public let bitsPerByte: Double?
    /// The model's parameters.
    public let parameters: Int
}

/// The texts of data sources, one after the other.
private struct TextReader {
    private var readers: [ExampleReader] = []
    private var current = 0

    init(_ sources: [DataSource]) throws(MoruError) {
        for source in sources { readers.append(try ExampleReader(source)) }
    }

    mutating func next() throws(MoruError) -> [UInt8]? {
        while current < readers.count {
            if let entry = try readers[current].next() {
                guard case .single(.text(let text)) = entry.example else {
                    throw MoruError(
                        .dataMalformed, "\(entry.place): no plain text",
                        remedy: "train from scratch on texts, or on JSONL with the field text")
                }
                return Array(text.utf8)
            }
            current += 1
        }
        return nil
    }
}
