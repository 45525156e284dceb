import Foundation
import MoruBase
import MoruModels
import MoruNN
import MoruTensor
import MoruTraining

/// How well a model predicts given answers, token by token.
public struct Perplexity: Sendable, Hashable {
    /// The summed negative log-likelihood of the answers' tokens, in nats.
    public var negativeLogLikelihood = 0.0
    /// The number of those tokens.
    public var tokens = 0

    /// `exp` of the mean negative log-likelihood.
    public var value: Double { tokens > 0 ? exp(negativeLogLikelihood / Double(tokens)) : .nan }

    /// Measures a model on examples, some at a time.
    ///
    /// - Parameters:
    ///   - model: The model.
    ///   - adapter: The adapter to use with it.
    ///   - examples: Encoded examples; only tokens marked as targets count.
    ///   - tokensAtATime: About how many tokens go through the model at once.
    /// - Throws: ``MoruError/Code/dataTooLong`` when an example is longer than the model's context, or
    ///   ``MoruError/Code/weightsNotFinite`` when the result is not finite.
    public init(
        of model: any LanguageModel, adapter: (any Adapter)?, on examples: [TokenizedExample], tokensAtATime: Int = 1024
    ) throws(MoruError) {
        let limit = model.contextLength(with: adapter)
        if let position = examples.firstIndex(where: { $0.tokens.count > limit }) {
            throw MoruError(
                .dataTooLong,
                "example \(position + 1) has \(examples[position].tokens.count) tokens, more than the context of \(limit)",
                remedy: "shorten it, or use a model with a longer context")
        }
        var pending: [TokenizedExample] = []
        var pendingTokens = 0
        for example in examples where example.targetCount > 0 {
            pending.append(example)
            pendingTokens += example.inputs.count
            if pendingTokens >= tokensAtATime {
                add(pending, model, adapter)
                (pending, pendingTokens) = ([], 0)
            }
        }
        if !pending.isEmpty { add(pending, model, adapter) }
        guard negativeLogLikelihood.isFinite else {
            throw MoruError(
                .weightsNotFinite,
                "the model's output is not finite"
                    + (model.firstNonFiniteParameter().map { ": \($0) holds a number that is not" } ?? ""),
                remedy: "fetch or save the model again")
        }
    }

    private mutating func add(_ examples: [TokenizedExample], _ model: any LanguageModel, _ adapter: (any Adapter)?) {
        let batch = TokenBatch(examples.map { Array($0.inputs) }, adapter: adapter)
        var rows: [Int] = []
        var targets: [Int32] = []
        for (segment, example) in zip(batch.segments, examples) {
            // The token before predicts each target; the first token has none before it
            for index in example.tokens.indices.dropFirst() where example.isTarget[index] {
                rows.append(segment.rows.lowerBound + index - 1)
                targets.append(example.tokens[index])
            }
        }
        guard !rows.isEmpty else { return }
        let hidden = model.hiddenStates(batch).gatheringRows(rows)
        negativeLogLikelihood += Double(model.crossEntropy(hidden, targets).scalar)
        tokens += rows.count
    }
}
