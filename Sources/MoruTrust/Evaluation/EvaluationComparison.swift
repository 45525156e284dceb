import MoruBase

/// Two reports on the same examples side by side: before and after tuning, or two models.
public struct EvaluationComparison: Sendable {
    /// A figure of both reports.
    public struct Row: Sendable, Hashable {
        /// What the figure is; one of a label's value is indented.
        public let name: String
        /// The label that the figure is about; nil when it is about whole answers.
        public let label: String?
        /// The figure of each report; nil where it has none.
        public let before, after: Double?
        /// What the figure counts.
        public let unit: Unit
    }

    /// What a figure counts.
    public enum Unit: String, Sendable {
        /// A share of 1; more is better.
        case share
        /// A plain number.
        case number
        /// Seconds.
        case seconds
        /// Tokens a second.
        case tokensPerSecond
    }

    /// One question and what each answered.
    public struct Pair: Sendable, Hashable {
        /// The question, and the right answer.
        public let question, reference: String
        /// The answers.
        public let before, after: String
    }

    /// The figures.
    public let rows: [Row]
    /// The answers, in the order of the data.
    public let pairs: [Pair]

    /// Compares a report with one that was saved earlier.
    ///
    /// - Parameters:
    ///   - before: What ``EvaluationReport/json(includingOutcomes:)`` gave, with outcomes.
    ///   - after: The later report.
    ///   - source: Where `before` was read, for error messages.
    /// - Throws: ``MoruError/Code/evaluationData`` when the two are not about the same examples.
    public init(before: JSON, after: EvaluationReport, source: String) throws(MoruError) {
        let earlier = try Self.outcomes(of: before, matching: after, source: source)
        let later = after.json()
        var rows: [Row] = []
        func add(_ name: String, _ unit: Unit, label: String? = nil, _ value: (JSON) -> Double?) {
            rows.append(Row(name: name, label: label, before: value(before), after: value(later), unit: unit))
        }
        for label in after.labels {
            add("\(label.name) accuracy", .share, label: label.name) { $0["labels"]?[label.name]?["accuracy"]?.double }
            for value in label.values {
                add("  \(value) F1", .share, label: label.name) {
                    $0["labels"]?[label.name]?["values"]?[value]?["f1"]?.double
                }
            }
        }
        for score in after.texts {
            add(score.metric.rawValue, .number) { $0["texts"]?[score.metric.rawValue]?["value"]?.double }
        }
        add("exact match", .share) { $0["exact_match"]?.double }
        add("perplexity of the right answer", .number) { $0["perplexity"]?.double }
        add("seconds", .seconds) { $0["seconds"]?.double }
        add("tokens/s", .tokensPerSecond) { $0["tokens_per_second"]?.double }
        self.rows = rows
        pairs = zip(earlier, after.outcomes).map { old, new in
            Pair(
                question: new.question, reference: new.reference, before: old["answer"]?.string ?? "",
                after: new.answer)
        }
    }

    /// The outcomes of an earlier report, when it is about the examples of a later one.
    private static func outcomes(
        of report: JSON, matching later: EvaluationReport, source: String
    ) throws(MoruError) -> [JSON] {
        guard let outcomes = report["outcomes"]?.array else {
            throw MoruError(
                .evaluationData, "\(source) is no report with answers", remedy: "make it with moru eval --save")
        }
        let remedy = "make it anew with moru eval --save on the same data"
        guard outcomes.count == later.outcomes.count else {
            throw MoruError(
                .evaluationData, "\(source) is about \(outcomes.count) examples, not \(later.outcomes.count)",
                remedy: remedy)
        }
        for (index, (old, new)) in zip(outcomes, later.outcomes).enumerated() {
            guard old["question"]?.string == new.question, old["reference"]?.string == new.reference else {
                throw MoruError(
                    .evaluationData, "\(source) is about other examples: number \(index + 1) differs", remedy: remedy)
            }
        }
        return outcomes
    }

    /// Some answers worth reading, spread over the data: where the later one is right and the earlier was not, then
    /// one where it is still wrong, if there is one.
    ///
    /// - Parameter count: The most to give.
    public func samples(_ count: Int) -> [Pair] {
        guard count > 0 else { return [] }
        func isRight(_ answer: String, _ pair: Pair) -> Bool {
            answer.trimmingWhitespace() == pair.reference.trimmingWhitespace()
        }
        let gained = pairs.filter { isRight($0.after, $0) && !isRight($0.before, $0) }
        let wrong = pairs.first { !isRight($0.after, $0) }
        let wanted = min(gained.count, count - (wrong == nil ? 0 : 1))
        return (0..<wanted).map { gained[$0 * gained.count / wanted] } + (wrong.map { [$0] } ?? [])
    }

    /// The comparison as JSON.
    public var json: JSON {
        .array(
            rows.map { row in
                [
                    "name": .string(row.name.trimmingWhitespace()), "label": row.label.map { .string($0) } ?? .null,
                    "before": row.before.map { .double($0) } ?? .null, "after": row.after.map { .double($0) } ?? .null,
                    "unit": .string(row.unit.rawValue),
                ]
            })
    }
}
