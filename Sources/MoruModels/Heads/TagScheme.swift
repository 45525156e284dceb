import MoruText

/// A stretch of a text that something was found in.
public struct TextSpan: Sendable, Hashable {
    /// Its Unicode scalars, counted as Python counts characters.
    public var range: Range<Int>
    /// What it is.
    public var label: String

    /// Makes a span.
    public init(_ range: Range<Int>, _ label: String) {
        self.range = range
        self.label = label
    }
}

/// How the tags of tokens say which of them form spans: `B-` begins one, `I-` goes on with it, and where they are used
/// `E-` ends one and `S-` is one alone; everything else is outside (`O`). A label without such a mark is one of its own.
public enum TagScheme {
    /// The tag of what is outside of every span.
    public static let outside = "O"

    /// The tags for spans of some labels: the outside, then the beginning and the inside of each.
    public static func tags(for labels: [String]) -> [String] {
        [outside] + labels.flatMap { ["B-" + $0, "I-" + $0] }
    }

    /// The labels that tags have, each once.
    public static func labels(of tags: [String]) -> [String] {
        var labels: [String] = []
        for case let label? in tags.map({ parts(of: $0)?.label }) where !labels.contains(label) { labels.append(label) }
        return labels
    }

    /// A tag's mark and label; nil for the outside.
    static func parts(of tag: String) -> (mark: Character, label: String)? {
        if tag == outside { return nil }
        guard let mark = tag.first, "BIESLU".contains(mark), tag.dropFirst().first == "-" else { return ("I", tag) }
        return (mark, String(tag.dropFirst(2)))
    }

    /// The spans that the tags of consecutive tokens form, as ranges of the tokens.
    ///
    /// An inside tag without a beginning begins a span, as in the evaluation of CoNLL.
    public static func spans(of tags: [String]) -> [(tokens: Range<Int>, label: String)] {
        var spans: [(tokens: Range<Int>, label: String)] = []
        var open: (begin: Int, label: String)?
        func close(at end: Int) {
            if let span = open { spans.append((span.begin..<end, span.label)) }
            open = nil
        }
        for (index, tag) in tags.enumerated() {
            guard let (mark, label) = parts(of: tag) else {
                close(at: index)
                continue
            }
            if "BSU".contains(mark) || open?.label != label {
                close(at: index)
                open = (index, label)
            }
            if "ESLU".contains(mark) { close(at: index + 1) }
        }
        close(at: tags.count)
        return spans
    }

    /// The tags of tokens for spans of their text.
    ///
    /// - Parameter ranges: Where each token stands; a token that stands nowhere is outside.
    /// - Returns: The tags, and the first span that begins or ends within a token, or has none.
    public static func tags(
        of spans: [TextSpan], ranges: [Range<Int>?]
    ) -> (tags: [String], misaligned: TextSpan?) {
        var tags = Array(repeating: outside, count: ranges.count)
        var misaligned: TextSpan?
        for span in spans {
            let tokens = ranges.indices.filter { index in
                guard let range = ranges[index], !range.isEmpty else { return false }
                return range.overlaps(span.range)
            }
            for (position, token) in tokens.enumerated() {
                tags[token] = (position == 0 ? "B-" : "I-") + span.label
            }
            let covered = tokens.compactMap { ranges[$0] }
            let isExact =
                covered.map(\.lowerBound).min() == span.range.lowerBound
                && covered.map(\.upperBound).max() == span.range.upperBound
            if !isExact, misaligned == nil { misaligned = span }
        }
        return (tags, misaligned)
    }
}
