import MoruBase
import MoruModels
import MoruNN
import MoruTensor
import Synchronization

/// Sentence embeddings learnt from scored pairs: the cosine of two texts' vectors shall be the score that the pair has, by
/// the squared error (Reimers and Gurevych, 2019; `CosineSimilarityLoss` of sentence-transformers).
public final class SimilarityTask: HeadDatasetTask {
    /// The model, with the adapter.
    public let embedder: TextEmbedder
    /// What is learnt from; the targets are texts with scores.
    public let training: HeadDataset
    /// What is measured on during the run.
    public let validation: HeadDataset?
    /// The cosines of validation examples as they were last measured, by the example's number.
    private let measured = Mutex<[Int: Float]>([:])

    /// Makes a task.
    public init(embedder: TextEmbedder, training: HeadDataset, validation: HeadDataset? = nil) {
        (self.embedder, self.training, self.validation) = (embedder, training, validation)
    }

    /// The pairs of a split.
    public func dataset(_ split: DataSplit) -> (any LearningSet)? { split == .training ? training : validation }

    /// The tokens of both texts; the loss is one.
    public func size(of example: Int, in split: DataSplit) -> ExampleSize {
        let pair = examples(split)[example]
        return ExampleSize(inputs: pair.tokens.count + pair.scored.tokens.count, targets: 1)
    }

    /// The squared errors of some pairs, summed.
    public func summedLoss(of examples: [Int], in split: DataSplit, dropout: DropoutSource?) -> Tensor {
        let pairs = self.examples(examples, in: split)
        return Self.loss(of: cosines(of: pairs, dropout: dropout), pairs.map(\.scored.score))
    }

    /// [N].
    private func cosines(of pairs: [HeadExample], dropout: DropoutSource?) -> Tensor {
        let count = pairs.count
        let vectors = embedder.vectors(
            of: pairs.map(\.tokens) + pairs.map(\.scored.tokens), skipping: embedder.skippedTokens, dropout: dropout)
        return Self.cosines(vectors.rows(0..<count), vectors.rows(count..<2 * count))
    }

    /// The cosines [N] of the rows of two matrices [N, D].
    static func cosines(_ a: Tensor, _ b: Tensor) -> Tensor {
        let products = SentenceModules.normalized(a) * SentenceModules.normalized(b)
        return products.linear(.ones([1, a.shape[1]])).reshaped(a.shape[0])
    }

    static func loss(of cosines: Tensor, _ scores: [Float]) -> Tensor {
        let error = cosines - Tensor(scores, shape: [scores.count])
        return (error * error).sum()
    }

    /// The loss; the cosines are kept for the figures.
    public func measure(_ examples: [Int], in split: DataSplit) -> TaskMeasurement {
        let pairs = self.examples(examples, in: split)
        let cosines = cosines(of: pairs, dropout: nil)
        if split == .validation {
            measured.withLock { measured in
                for (number, cosine) in zip(examples, cosines.values()) { measured[number] = cosine }
            }
        }
        return TaskMeasurement(loss: Double(Self.loss(of: cosines, pairs.map(\.scored.score)).scalar))
    }

    /// `pearson` and `spearman`: the correlations of the validation set's cosines with its scores, and of their ranks.
    public func figures(of total: TaskMeasurement, targets: Double) -> [String: Double] {
        let pairs = examples(.validation)
        let cosines = measured.withLock { measured in pairs.indices.compactMap { measured[$0] } }
        guard cosines.count == pairs.count, !pairs.isEmpty else { return [:] }
        let (found, wanted) = (cosines.map(Double.init), pairs.map { Double($0.scored.score) })
        var figures: [String: Double] = [:]
        figures["pearson"] = Correlation.pearson(found, wanted)
        figures["spearman"] = Correlation.spearman(found, wanted)
        return figures
    }

    /// A sample of the model's weights, how it makes vectors, and every pair of the data.
    public var identity: [(key: String, value: String)] { embedder.identity + dataIdentity }

    /// Names a parameter of the base model or the adapter that is not finite.
    public func diagnosis() -> String? { embedder.model.base.diagnosis(embedder.adapter) }
}

extension TextEmbedder {
    /// A sample of the model's weights, and how it makes vectors, as a part of a task's identity.
    var identity: [(key: String, value: String)] {
        [
            ("the base model's weights", model.base.fingerprintText),
            ("the pooling", modules.poolings.map(\.rawValue).joined(separator: ", ")),
        ]
    }
}

extension HeadExample {
    /// The other text, and how near it is.
    fileprivate var scored: (tokens: [Int32], score: Float) {
        guard case .scored(let tokens, let score) = target else { preconditionFailure("a pair without a score") }
        return (tokens, score)
    }
}
