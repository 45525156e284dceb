import MoruBase
import MoruTensor
import MoruText

/// Something that was found in a text.
public struct ExtractedSpan: Sendable, Hashable {
    /// What it is.
    public var label: String
    /// Where it begins, in Unicode scalars, counted as Python counts characters.
    public var start: Int
    /// Where it ends; the scalar there is no part of it.
    public var end: Int
    /// The text of it.
    public var text: String
    /// How sure the head is: the mean probability of its tokens' labels.
    public var score: Float
}

extension HeadedModel {
    /// What the head finds in texts. Each result is the same as of the text alone.
    ///
    /// - Parameter truncates: Whether texts longer than the model takes are cut; nothing is found in what is cut off.
    /// - Throws: ``MoruError/Code/headMissing`` for a head that looks at whole texts, or as
    ///   ``tokens(of:limit:truncates:)``.
    public func extract(_ texts: [String], truncates: Bool = false) throws(MoruError) -> [[ExtractedSpan]] {
        guard configuration.place == .token else {
            throw MoruError(
                .headMissing, "\(trunk.path) has a head that labels whole texts, not their tokens",
                remedy: "use moru classify")
        }
        var encoded: [TokenizedText] = []
        for text in texts { encoded.append(try tokens(of: text, truncates: truncates)) }
        return zip(zip(texts, encoded), logits(of: encoded)).map { pair, logits in
            spans(in: pair.0, pair.1, logits: logits.values())
        }
    }

    /// What the logits [tokens, labels] of a text's tokens say that is in it.
    package func spans(in text: String, _ tokens: TokenizedText, logits values: [Float]) -> [ExtractedSpan] {
        let labels = configuration.labels
        let placed = tokens.ranges.indices.filter { tokens.ranges[$0]?.isEmpty == false }
        let best = placed.map { token -> (label: String, score: Float) in
            let row = Array(values[token * labels.count..<(token + 1) * labels.count])
            let probabilities = configuration.probabilities(row)
            let index = probabilities.indices.max { probabilities[$0] < probabilities[$1] } ?? 0
            return (labels[index], probabilities[index])
        }
        let scalars = Array(text.unicodeScalars)
        let ranges = placed.compactMap { tokens.ranges[$0] }
        return words(ranges, scalars, best).compactMap { span in
            let parts = ranges[span.tokens]
            guard let start = parts.map(\.lowerBound).min(), let end = parts.map(\.upperBound).max() else { return nil }
            let scores = span.tokens.map { best[$0].score }
            return ExtractedSpan(
                label: span.label, start: start, end: end,
                text: String(String.UnicodeScalarView(scalars[start..<end])),
                score: scores.reduce(0, +) / Float(scores.count))
        }
    }

    /// The spans of tokens, in which the parts of a word have the label of its first.
    private func words(
        _ ranges: [Range<Int>], _ scalars: [Unicode.Scalar], _ best: [(label: String, score: Float)]
    ) -> [(tokens: Range<Int>, label: String)] {
        func isOfWord(_ place: Int) -> Bool {
            scalars[place].properties.isAlphabetic || scalars[place].properties.numericType != nil
        }
        var tags = best.map(\.label)
        for index in tags.indices.dropFirst() {
            let (before, begin) = (ranges[index - 1].upperBound, ranges[index].lowerBound)
            guard before >= begin, isOfWord(begin), begin == 0 || isOfWord(begin - 1) else { continue }
            let label = TagScheme.parts(of: tags[index - 1])?.label
            tags[index] = label.map { "I-" + $0 } ?? TagScheme.outside
        }
        return TagScheme.spans(of: tags)
    }
}
