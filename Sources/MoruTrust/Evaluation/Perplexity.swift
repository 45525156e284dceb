import Foundation
import MoruBase
import MoruModels
import MoruNN
import MoruTensor
import MoruTraining

/// How well a model predicts given texts, token by token.
public struct Perplexity: Sendable, Hashable {
    /// What one example takes.
    public struct Score: Sendable, Hashable {
        /// The summed negative log-likelihood of the scored tokens, in nats.
        public var negativeLogLikelihood = 0.0
        /// The number of those tokens.
        public var tokens = 0

        /// The mean over the tokens, in nats; NaN without any.
        public var loss: Double { tokens > 0 ? negativeLogLikelihood / Double(tokens) : .nan }
    }

    /// Each example, in their order.
    public private(set) var scores: [Score]

    /// The summed negative log-likelihood of all scored tokens, in nats.
    public var negativeLogLikelihood: Double { scores.reduce(0) { $0 + $1.negativeLogLikelihood } }
    /// The number of those tokens.
    public var tokens: Int { scores.reduce(0) { $0 + $1.tokens } }
    /// `exp` of the mean negative log-likelihood.
    public var value: Double { tokens > 0 ? exp(negativeLogLikelihood / Double(tokens)) : .nan }

    /// Puts together what was measured before.
    init(_ scores: [Score]) { self.scores = scores }

    /// What ``figures(bytes:)`` gives.
    static let figureKinds = [
        Figure.Kind("perplexity", unit: .number, prefersMore: false),
        Figure.Kind("bits_per_byte", unit: .number, prefersMore: false),
    ]

    /// Perplexity and bits per byte with their intervals, the examples resampled.
    ///
    /// - Parameter bytes: The bytes of each example's scored text.
    func figures(bytes: [Int]) -> [Figure] {
        Figure.measure(Self.figureKinds, count: scores.count) { indices in
            var (loss, tokens, size) = (0.0, 0, 0)
            for index in indices {
                loss += scores[index].negativeLogLikelihood
                tokens += scores[index].tokens
                size += bytes[index]
            }
            return [tokens > 0 ? exp(loss / Double(tokens)) : nil, size > 0 ? loss / log(2) / Double(size) : nil]
        }
    }

    /// Measures a model on examples, some at a time.
    ///
    /// - Parameters:
    ///   - model: The model.
    ///   - adapter: The adapter to use with it.
    ///   - examples: Encoded examples; only tokens marked as targets count.
    ///   - tokensAtATime: About how many tokens go through the model at once.
    ///   - progress: Told now and then how many examples are done.
    /// - Throws: ``MoruError/Code/dataTooLong`` when an example is longer than the model's context, or
    ///   ``MoruError/Code/weightsNotFinite`` when the result is not finite.
    public init(
        of model: any LanguageModel, adapter: (any Adapter)?, on examples: [TokenizedExample],
        tokensAtATime: Int = 1024, progress: (Int) -> Void = { _ in }
    ) throws(MoruError) {
        let limit = model.contextLength(with: adapter)
        if let position = examples.firstIndex(where: { $0.tokens.count > limit }) {
            throw MoruError(
                .dataTooLong,
                "example \(position + 1) has \(examples[position].tokens.count) tokens, more than the context of \(limit)",
                remedy: "shorten it, or use a model with a longer context")
        }
        scores = examples.map { _ in Score() }
        var pending: [Int] = []
        var pendingTokens = 0
        for (index, example) in examples.enumerated() where example.targetCount > 0 {
            pending.append(index)
            pendingTokens += example.inputs.count
            if pendingTokens >= tokensAtATime {
                measure(pending, of: examples, model, adapter)
                (pending, pendingTokens) = ([], 0)
                progress(index + 1)
            }
        }
        if !pending.isEmpty { measure(pending, of: examples, model, adapter) }
        progress(examples.count)
        guard negativeLogLikelihood.isFinite else {
            throw MoruError(
                .weightsNotFinite,
                "the model's output is not finite"
                    + (model.firstNonFiniteParameter().map { ": \($0) holds a number that is not" } ?? ""),
                remedy: "fetch or save the model again")
        }
    }

    /// Rows whose logits are held at once; they are by far the largest activation.
    private static let rowsAtOnce = 128

    private mutating func measure(
        _ places: [Int], of examples: [TokenizedExample], _ model: any LanguageModel, _ adapter: (any Adapter)?
    ) {
        let batch = TokenBatch(places.map { Array(examples[$0].inputs) }, adapter: adapter)
        var rows: [Int] = []
        var targets: [Int32] = []
        var owners: [Int] = []
        for (segment, place) in zip(batch.segments, places) {
            let example = examples[place]
            // The token before predicts each target; the first token has none before it
            for index in example.tokens.indices.dropFirst() where example.isTarget[index] {
                rows.append(segment.rows.lowerBound + index - 1)
                targets.append(example.tokens[index])
                owners.append(place)
            }
        }
        guard !rows.isEmpty else { return }
        let hidden = model.hiddenStates(batch).gatheringRows(rows)
        let parts = (rows.count + Self.rowsAtOnce - 1) / Self.rowsAtOnce
        for part in 0..<parts {
            // Parts of one size, for few rows are rounded otherwise than many
            let range = rows.count * part / parts..<rows.count * (part + 1) / parts
            var logits = model.logits(hidden.rows(range))
            let losses = Runtime.shared.backend.crossEntropy(
                &logits, targets: Array(targets[range]), scale: 1, wantsGradient: false
            ).values()
            for (row, loss) in zip(range, losses) {
                scores[owners[row]].negativeLogLikelihood += Double(loss)
                scores[owners[row]].tokens += 1
            }
        }
    }
}
