import MoruBase

/// A figure that compares texts with reference texts.
///
/// Every metric is a function of statistics that are summed over the examples, so that a corpus is scored as the
/// metric's authors define it (not as a mean of sentences), and resampled without reading the texts again.
public enum TextMetric: String, Sendable, Hashable, CaseIterable {
    /// BLEU of the corpus, 0 to 100 (Papineni et al., 2002), with sacrebleu's defaults: tokens of mteval-v13a,
    /// exponential smoothing.
    case bleu
    /// Character n-gram F-score, 0 to 100 (Popović, 2015): orders 1 to 6, recall counts twice.
    case chrF = "chrf"
    /// ``chrF`` with words and word pairs, 0 to 100 (Popović, 2017).
    case chrFPlusPlus = "chrf++"
    /// F-measure of shared words, 0 to 1 (Lin, 2004), without stemming, as rouge-score gives it; mean of the examples.
    case rouge1
    /// ``rouge1`` of word pairs.
    case rouge2
    /// ``rouge1`` of the longest common subsequence.
    case rougeL
    /// Word error rate: substitutions, deletions and insertions for each word of the references. Less is better.
    case wer
    /// Character error rate. Less is better.
    case cer

    /// Whether a larger value is better.
    public var prefersMore: Bool { self != .wer && self != .cer }

    /// What it is as a figure.
    var kind: Figure.Kind { Figure.Kind(rawValue, unit: .number, prefersMore: prefersMore) }

    /// The figure of a text that is its reference.
    var best: Double {
        switch self {
        case .bleu, .chrF, .chrFPlusPlus: 100
        case .rouge1, .rouge2, .rougeL: 1
        case .wer, .cer: 0
        }
    }

    /// What one example adds to the statistics; the same number of them for every example.
    func statistics(_ text: String, reference: String) -> [Double] {
        switch self {
        case .bleu: BLEU.statistics(text, reference: reference)
        case .chrF: CharacterFScore(wordOrder: 0).statistics(text, reference: reference)
        case .chrFPlusPlus: CharacterFScore(wordOrder: 2).statistics(text, reference: reference)
        case .rouge1: [ROUGE.nGrams(1, text, reference: reference), 1]
        case .rouge2: [ROUGE.nGrams(2, text, reference: reference), 1]
        case .rougeL: [ROUGE.longestCommonSubsequence(text, reference: reference), 1]
        case .wer: ErrorRate.statistics(ErrorRate.words(text), ErrorRate.words(reference))
        case .cer: ErrorRate.statistics(ErrorRate.characters(text), ErrorRate.characters(reference))
        }
    }

    /// The figure of summed statistics; nil where it is undefined (an error rate of empty references).
    func value(_ sums: [Double]) -> Double? {
        switch self {
        case .bleu: BLEU.value(sums)
        case .chrF, .chrFPlusPlus: CharacterFScore.value(sums)
        case .rouge1, .rouge2, .rougeL, .wer, .cer: sums[1] > 0 ? sums[0] / sums[1] : nil
        }
    }
}

/// The figure of some texts with its uncertainty.
public struct TextScore: Sendable, Hashable {
    /// What was measured.
    public let metric: TextMetric
    /// The figure of all examples, with its interval.
    public let figure: Figure
    /// Each text's own figure, in their order; nil where it is undefined.
    public let values: [Double?]

    /// The figure of all examples; nil where it is undefined.
    public var value: Double? { figure.value }
    /// Where the figure of another sample like this one would lie, 95 times of 100.
    public var interval: ConfidenceInterval? { figure.interval }

    /// Scores texts against references.
    ///
    /// - Parameters:
    ///   - metric: What to measure.
    ///   - pairs: The texts with their references.
    public init(_ metric: TextMetric, _ pairs: [(text: String, reference: String)]) {
        let rows = pairs.map { metric.statistics($0.text, reference: $0.reference) }
        self.metric = metric
        values = rows.map { metric.value($0) }
        figure = Figure.measure([metric.kind], count: rows.count) { [metric.value(Self.sums(of: rows, $0))] }[0]
    }

    /// The figure and the ends of its interval; null where undefined.
    public var json: JSON { figure.json }

    private static func sums(of rows: [[Double]], _ indices: [Int]) -> [Double] {
        var sums = [Double](repeating: 0, count: rows[0].count)
        for index in indices {
            for (column, value) in rows[index].enumerated() { sums[column] += value }
        }
        return sums
    }
}
