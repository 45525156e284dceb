import Foundation
import MoruBase
import MoruModels
import MoruTensor
import Synchronization

/// How much of a model's quality another form of it loses, over the same tokens: quantised, merged, or otherwise changed.
public struct ModelDifference: Sendable, Hashable {
    /// Predicted tokens.
    public private(set) var tokens = 0
    /// `exp` of the reference's mean negative log-likelihood.
    public private(set) var referencePerplexity = Double.nan
    /// The same of the other model.
    public private(set) var perplexity = Double.nan
    /// The mean Kullback-Leibler divergence of the next token's distribution, in nats: how much is lost by believing the
    /// other model where the reference is right.
    public private(set) var divergence = Double.nan
    /// The share of positions where both find the same token likeliest.
    public private(set) var topAgreement = Double.nan

    private struct Sums {
        var reference = 0.0
        var other = 0.0
        var divergence = 0.0
        var agreements = 0
    }

    /// Rows of logits held at a time.
    private static let rowsAtATime = 64

    /// Compares two models of one vocabulary.
    ///
    /// - Parameters:
    ///   - windows: Sequences of at least two tokens.
    ///   - progress: Called with the number of sequences done.
    /// - Throws: ``MoruError/Code/mergeMismatch`` for different vocabularies, or ``MoruError/Code/weightsNotFinite``.
    public init(
        of other: any LanguageModel, from reference: any LanguageModel, on windows: [[Int32]],
        progress: (Int) -> Void = { _ in }
    ) throws(MoruError) {
        let (rows, otherRows) = (reference.facts.vocabularySize, other.facts.vocabularySize)
        guard rows == otherRows else {
            throw MoruError(
                .mergeMismatch, "one model has \(rows) tokens, the other \(otherRows)",
                remedy: "compare models of one vocabulary")
        }
        var sums = Sums()
        for (done, window) in windows.enumerated() where window.count > 1 {
            progress(done)
            Runtime.withPrecision(.f32) {
                let batch = TokenBatch([window])
                let (a, b) = (reference.hiddenStates(batch), other.hiddenStates(batch))
                for begin in stride(from: 0, to: window.count - 1, by: Self.rowsAtATime) {
                    let part = begin..<min(window.count - 1, begin + Self.rowsAtATime)
                    Self.add(
                        reference.logits(a.rows(part)), other.logits(b.rows(part)),
                        Array(window[part.lowerBound + 1..<part.upperBound + 1]), to: &sums)
                }
            }
            tokens += window.count - 1
        }
        progress(windows.count)
        let count = Double(tokens)
        referencePerplexity = exp(sums.reference / count)
        perplexity = exp(sums.other / count)
        divergence = max(0, sums.divergence / count)
        topAgreement = Double(sums.agreements) / count
        guard referencePerplexity.isFinite, perplexity.isFinite, divergence.isFinite else {
            throw MoruError(
                .weightsNotFinite, "the model's output over the text is not finite",
                remedy: "choose a wider format, or fetch the model again")
        }
    }

    private static func add(_ a: Tensor, _ b: Tensor, _ targets: [Int32], to sums: inout Sums) {
        let columns = a.shape[1]
        // A row's figures belong to its place, so that they are added in order whatever thread made them
        let found = Mutex([Sums](repeating: Sums(), count: targets.count))
        Runtime.shared.threads.run(targets.count) { row in
            let (p, q) = (a.floats + row * columns, b.floats + row * columns)
            var (best, otherBest) = (0, 0)
            for column in 0..<columns {
                if p[column] > p[best] { best = column }
                if q[column] > q[otherBest] { otherBest = column }
            }
            let (top, otherTop) = (p[best], q[otherBest])
            var (total, otherTotal, weighted): (Double, Double, Double) = (0, 0, 0)
            for column in 0..<columns {
                let (x, y) = (p[column] - top, q[column] - otherTop)
                let share = Double(exp(x))
                total += share
                otherTotal += Double(exp(y))
                weighted += share * Double(x - y)
            }
            let (normalizer, otherNormalizer) = (log(total), log(otherTotal))
            let target = Int(targets[row])
            let figures = Sums(
                reference: normalizer - Double(p[target] - top), other: otherNormalizer - Double(q[target] - otherTop),
                divergence: weighted / total - normalizer + otherNormalizer, agreements: best == otherBest ? 1 : 0)
            found.withLock { $0[row] = figures }
        }
        for row in found.withLock({ $0 }) {
            sums.reference += row.reference
            sums.other += row.other
            sums.divergence += row.divergence
            sums.agreements += row.agreements
        }
    }

    /// The figures, for programs.
    public var json: JSON {
        [
            "tokens": .int(tokens), "perplexity_before": .double(referencePerplexity),
            "perplexity_after": .double(perplexity), "kl_divergence": .double(divergence),
            "top1_agreement": .double(topAgreement),
        ]
    }
}
