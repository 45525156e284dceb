import Foundation
import MoruBase
import MoruTensor
import MoruText

/// What a head says of a whole text.
public struct TextClassification: Sendable, Hashable {
    /// A label and how sure the head is of it.
    public struct Score: Sendable, Hashable {
        /// The label's name.
        public var label: String
        /// A probability; of a regression the number itself.
        public var score: Float
    }

    /// Every label's score, the highest first; of a regression in the order of the outputs.
    public var scores: [Score]
    /// The labels that the text has: the likeliest, or where it may have several those at least as likely as not.
    public var labels: [String]
}

extension HeadedModel {
    /// The most tokens of a text.
    public var contextLength: Int { base.contextLength(with: adapter) }

    /// A text's tokens as the head reads them.
    ///
    /// - Parameters:
    ///   - limit: The most tokens; nil for as many as the model takes.
    ///   - truncates: Whether a longer text is cut.
    /// - Throws: ``MoruError/Code/textTooLong``, or ``MoruError/Code/textEmpty`` for a text without tokens.
    public func tokens(
        of text: String, limit: Int? = nil, truncates: Bool = false
    ) throws(MoruError) -> TokenizedText {
        let encoded = tokenizer.encodeWithOffsets(text, parseSpecial: false)
        let limit = min(limit ?? .max, contextLength)
        guard !encoded.ids.isEmpty else {
            throw MoruError(.textEmpty, "the text is empty", remedy: "leave it out, or give it some words")
        }
        guard encoded.ids.count > limit else { return encoded }
        guard truncates else {
            throw MoruError(
                .textTooLong, "the text has \(encoded.ids.count) tokens, the limit is \(limit)",
                remedy: "shorten it, or have it cut")
        }
        return encoded.prefix(limit)
    }

    /// What the head says of whole texts. Each result is the same as of the text alone.
    ///
    /// - Parameter truncates: Whether texts longer than the model takes are cut.
    /// - Throws: ``MoruError/Code/headMissing`` for a head that looks at tokens, or as ``tokens(of:limit:truncates:)``.
    public func classify(_ texts: [String], truncates: Bool = false) throws(MoruError) -> [TextClassification] {
        guard configuration.place == .sequence else {
            throw MoruError(
                .headMissing, "\(trunk.path) has a head that labels tokens, not whole texts",
                remedy: "use moru extract")
        }
        var encoded: [TokenizedText] = []
        for text in texts { encoded.append(try tokens(of: text, truncates: truncates)) }
        return logits(of: encoded).map { configuration.classification($0.values()) }
    }

    /// The logits of each of several texts, in batches that leave each result as it is of the text alone.
    func logits(of texts: [TokenizedText]) -> [Tensor] { logits(of: texts.map { TokenSequence($0.ids) }) }

    /// The logits of each of several token sequences, none of them empty: [1, labels], or [tokens, labels] for a head
    /// that looks at tokens. Each result is the same as of the sequence alone.
    package func logits(of sequences: [TokenSequence]) -> [Tensor] {
        var results: [Tensor] = []
        for run in TokenBatch.runs(of: sequences.map(\.ids.count), atMost: Self.batchTokens) {
            let batch = TokenBatch(Array(sequences[run]), adapter: adapter)
            let logits = logits(batch.withManyRows)
            for (index, segment) in batch.segments.enumerated() {
                results.append(logits.rows(configuration.place == .token ? segment.rows : index..<index + 1))
            }
        }
        return results
    }

    /// Tokens that pass through the model together.
    private static var batchTokens: Int { 2048 }
}

extension HeadConfiguration {
    /// What the logits of a text mean.
    package func classification(_ logits: [Float]) -> TextClassification {
        let values = probabilities(logits)
        let scores = zip(labels, values).map { TextClassification.Score(label: $0, score: $1) }
        let sorted = scores.sorted { $0.score > $1.score }
        switch problem {
        case .regression: return TextClassification(scores: scores, labels: [])
        case .singleLabel: return TextClassification(scores: sorted, labels: sorted.prefix(1).map(\.label))
        case .multiLabel:
            return TextClassification(scores: sorted, labels: sorted.filter { $0.score >= 0.5 }.map(\.label))
        }
    }

    /// Probabilities of logits; the logits themselves of a regression.
    package func probabilities(_ logits: [Float]) -> [Float] {
        switch problem {
        case .regression: return logits
        case .multiLabel: return logits.map { 1 / (1 + exp(-$0)) }
        case .singleLabel:
            let highest = logits.max() ?? 0
            let powers = logits.map { exp($0 - highest) }
            let sum = powers.reduce(0, +)
            return powers.map { $0 / sum }
        }
    }
}
