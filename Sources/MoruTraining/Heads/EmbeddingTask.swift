import MoruBase
import MoruModels
import MoruNN
import MoruTensor
import Synchronization

/// Sentence embeddings learnt by contrast: every text's vector shall be nearer to that of the text that belongs to it
/// than to those of all other texts of its batch (multiple negatives ranking, Henderson et al., 2017; InfoNCE, van den
/// Oord et al., 2018).
///
/// The examples of a batch are each other's negatives, so that its size decides how hard the task is. Texts with the same
/// tokens as the one that belongs to an anchor are not held against it.
public final class EmbeddingTask: HeadDatasetTask {
    /// The model, with the adapter.
    public let embedder: TextEmbedder
    /// What is learnt from; the targets are texts.
    public let training: HeadDataset
    /// What is measured on during the run.
    public let validation: HeadDataset?
    /// What cosines are multiplied by: the inverse of the temperature.
    public let scale: Float
    /// The vectors of validation examples as they were last measured, by the example's number.
    private let measured = Mutex<[Int: Tensor]>([:])

    /// Makes a task.
    public init(embedder: TextEmbedder, training: HeadDataset, validation: HeadDataset? = nil, scale: Float = 20) {
        (self.embedder, self.training, self.validation, self.scale) = (embedder, training, validation, scale)
    }

    /// The examples of a split.
    public func dataset(_ split: DataSplit) -> (any LearningSet)? { split == .training ? training : validation }

    /// The tokens of an example's texts; its loss is one.
    public func size(of example: Int, in split: DataSplit) -> ExampleSize {
        ExampleSize(inputs: examples(split)[example].texts.reduce(0) { $0 + $1.count }, targets: 1)
    }

    /// Each example has the others of its batch as negatives.
    public var examplesAreIndependent: Bool { false }

    /// The loss of some examples against each other, in nats, summed.
    public func summedLoss(of examples: [Int], in split: DataSplit, dropout: DropoutSource?) -> Tensor {
        let texts = TextGroup(self.examples(examples, in: split))
        return loss(of: vectors(texts, dropout: dropout), texts)
    }

    private func vectors(_ texts: TextGroup, dropout: DropoutSource?) -> Tensor {
        embedder.vectors(of: texts.sequences, skipping: embedder.skippedTokens, dropout: dropout)
    }

    private func loss(of vectors: Tensor, _ texts: TextGroup) -> Tensor {
        let count = texts.anchorCount
        return Self.loss(
            anchors: vectors.rows(0..<count), candidates: vectors.rows(count..<texts.sequences.count), scale: scale,
            ignoring: texts.equals)
    }

    /// The cross-entropy of each anchor's own text among all, by scaled cosine; summed.
    ///
    /// - Parameters:
    ///   - anchors: [N, D].
    ///   - candidates: [M, D], M >= N: those that belong to the anchors in their order, then further negatives.
    ///   - scale: What cosines are multiplied by.
    ///   - ignored: For each anchor the candidates that are not held against it.
    static func loss(anchors: Tensor, candidates: Tensor, scale: Float, ignoring ignored: [[Int]] = []) -> Tensor {
        let (rows, columns) = (anchors.shape[0], candidates.shape[0])
        var mask: Tensor?
        if ignored.contains(where: { !$0.isEmpty }) {
            var values = Array(repeating: Float(0), count: rows * columns)
            // Far below any cosine, so that nothing is left of it after the softmax
            for (row, all) in ignored.enumerated() { for column in all { values[row * columns + column] = -1e9 } }
            mask = Tensor(values, shape: [rows, columns])
        }
        let logits = SentenceModules.normalized(anchors).linear(
            SentenceModules.normalized(candidates), alpha: scale, adding: mask)
        return logits.crossEntropy((0..<Int32(rows)).map { $0 }) * Float(rows)
    }

    /// The loss; the vectors are kept for the figures.
    public func measure(_ examples: [Int], in split: DataSplit) -> TaskMeasurement {
        let texts = TextGroup(self.examples(examples, in: split))
        let vectors = vectors(texts, dropout: nil)
        if split == .validation {
            let unit = SentenceModules.normalized(vectors)
            measured.withLock { measured in
                for (number, rows) in zip(examples, texts.rows) {
                    measured[number] = Tensor.concatenated(rows.map { unit.rows($0..<$0 + 1) })
                }
            }
        }
        return TaskMeasurement(loss: Double(loss(of: vectors, texts).scalar))
    }

    /// `recall_at_1`: the share of the validation set's anchors that are nearest to their own text among the texts of
    /// the whole set, whatever the size of a batch.
    public func figures(of total: TaskMeasurement, targets: Double) -> [String: Double] {
        let examples = examples(.validation)
        let vectors = measured.withLock { measured in examples.indices.compactMap { measured[$0] } }
        guard vectors.count == examples.count, !examples.isEmpty else { return [:] }
        let texts = TextGroup(examples)
        let anchors = Tensor.concatenated(vectors.map { $0.rows(0..<1) })
        let candidates = Tensor.concatenated(
            vectors.map { $0.rows(1..<2) } + vectors.filter { $0.shape[0] > 2 }.map { $0.rows(2..<$0.shape[0]) })
        var right = 0
        for begin in stride(from: 0, to: examples.count, by: 256) {
            let rows = begin..<min(examples.count, begin + 256)
            let cosines = anchors.rows(rows).linear(candidates).values()
            let width = candidates.shape[0]
            for row in rows {
                let own = cosines[(row - rows.lowerBound) * width + row]
                let ignored = Set(texts.equals[row] + [row])
                // A model to which all texts are the same finds nothing
                let isNearest = (0..<width).allSatisfy {
                    ignored.contains($0) || cosines[(row - rows.lowerBound) * width + $0] < own
                }
                if isNearest { right += 1 }
            }
        }
        return ["recall_at_1": Double(right) / Double(examples.count)]
    }

    /// A sample of the model's weights, how it makes vectors, and every example of the data.
    public var identity: [(key: String, value: String)] { embedder.identity + dataIdentity }

    /// Names a parameter of the base model or the adapter that is not finite.
    public func diagnosis() -> String? { embedder.model.base.diagnosis(embedder.adapter) }
}

/// The texts of some examples: the anchors, then what belongs to each, then further negatives.
private struct TextGroup {
    var sequences: [[Int32]]
    var anchorCount: Int
    /// The rows of each example's texts.
    var rows: [[Int]] = []
    /// For each anchor the candidates, counted after the anchors, that are the same text as its own.
    var equals: [[Int]] = []

    init(_ examples: [HeadExample]) {
        let count = examples.count
        anchorCount = count
        sequences = examples.map(\.tokens) + examples.map { $0.texts[1] }
        for (index, example) in examples.enumerated() {
            let negatives = example.texts.dropFirst(2)
            rows.append([index, count + index] + negatives.indices.map { sequences.count + $0 - 2 })
            sequences += negatives
        }
        var places: [[Int32]: [Int]] = [:]
        for (index, text) in sequences.dropFirst(count).enumerated() { places[text, default: []].append(index) }
        equals = examples.indices.map { index in
            places[sequences[count + index], default: []].filter { $0 != index }
        }
    }
}

extension HeadExample {
    /// The text, what belongs to it, and what does not.
    fileprivate var texts: [[Int32]] {
        guard case .texts(let others) = target else {
            preconditionFailure("an example without a text that belongs to it")
        }
        return [tokens] + others
    }
}
