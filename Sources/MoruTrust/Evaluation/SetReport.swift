import Foundation
import MoruBase
import MoruModels

/// What evaluating a head found that gives a text several labels, or finds spans in it.
public struct SetReport: ScoredReport {
    /// A label of a text, or a span in it.
    public struct Item: SetMetrics.Item, Sendable {
        /// The label.
        public let label: String
        /// The Unicode scalars of the span; nil where the label is of the whole text.
        public let range: Range<Int>?

        init(_ label: String, _ range: Range<Int>? = nil) { (self.label, self.range) = (label, range) }
    }

    /// One text.
    public struct Outcome: Sendable, Hashable {
        /// The text.
        public let text: String
        /// What is right, and what the head says, in the order of the text or of the labels.
        public let reference, answer: [Item]

        /// What the head left out or made up.
        var mistakes: Int { Set(reference).symmetricDifference(answer).count }
    }

    /// Each text, in the order of the data.
    public let outcomes: [Outcome]
    /// How well the sets were found.
    public let sets: SetMetrics
    /// Seconds that it took, loading not counted.
    public let seconds: Double

    /// - Parameter labels: The labels of whole texts; nil for spans, whose labels are those that occur.
    init(_ outcomes: [Outcome], labels: [String]?, seconds: Double) {
        (self.outcomes, self.seconds) = (outcomes, seconds)
        let occurring = Set(outcomes.flatMap { $0.reference + $0.answer }.map(\.label)).sorted()
        sets = SetMetrics(
            labels == nil ? Self.spanName : Self.labelName, labels: labels ?? occurring,
            outcomes.map { (truth: Set($0.reference), found: Set($0.answer)) })
    }
}

extension SetReport {
    private static let (labelName, spanName) = ("label", "span")
    /// A head's, as that of ``HeadReport``.
    public static var task: EvaluationTask { .head }
    /// None: no label excludes another.
    public var labels: [ClassificationMetrics] { [] }
    /// None.
    public var calibration: Calibration? { nil }
    /// Every figure, with its interval.
    public var figures: [Figure] { sets.figures + [Figure(Figure.seconds, value: seconds)] }

    /// The figures that an evaluation on examples will give, for the labels that the examples have.
    static func figureKinds(labels: Set<String>, areSpans: Bool) -> [Figure.Kind] {
        SetMetrics.kinds(areSpans ? spanName : labelName, labels.sorted()) + [Figure.seconds]
    }

    /// The texts; the worst are those with the most mistakes.
    public var cases: [EvaluationCase] {
        outcomes.map { outcome in
            let scalars = Array(outcome.text.unicodeScalars)
            func words(_ items: [Item]) -> String {
                guard !items.isEmpty else { return "(nothing)" }
                return items.map { item in
                    guard let range = item.range, range.upperBound <= scalars.count else { return item.label }
                    return "\(item.label): \(String(String.UnicodeScalarView(scalars[range])))"
                }.joined(separator: "; ")
            }
            let (missing, extra) = (
                Set(outcome.reference).subtracting(outcome.answer).count,
                Set(outcome.answer).subtracting(outcome.reference).count
            )
            return EvaluationCase(
                question: outcome.text, reference: words(outcome.reference), answer: words(outcome.answer),
                isRight: outcome.mistakes == 0, badness: Double(outcome.mistakes),
                note: outcome.mistakes == 0 ? "" : "\(missing) missed, \(extra) wrong")
        }
    }

    /// The report as JSON.
    ///
    /// - Parameter includingOutcomes: Whether to list every text.
    public func json(includingOutcomes: Bool = false) -> JSON {
        var result = JSONObject([
            ("task", .string(Self.task.rawValue)), ("examples", .int(outcomes.count)), ("sets", .string(sets.name)),
            (sets.name + "s", sets.json), ("seconds", .double(seconds)),
        ])
        if includingOutcomes {
            result["outcomes"] = .array(
                outcomes.map { outcome in
                    [
                        "text": .string(outcome.text), "reference": .array(outcome.reference.map(\.json)),
                        "answer": .array(outcome.answer.map(\.json)),
                    ]
                })
        }
        return .object(result)
    }

    /// Reads what ``json(includingOutcomes:)`` gave, with outcomes; nil when it is something else.
    init?(_ json: JSON) {
        guard let name = json["sets"]?.string, let entries = json["outcomes"]?.array else { return nil }
        func items(_ json: JSON?) -> [Item]? {
            guard let entries = json?.array else { return nil }
            let items = entries.compactMap(Item.init)
            return items.count == entries.count ? items : nil
        }
        let outcomes = entries.compactMap { entry -> Outcome? in
            guard let text = entry["text"]?.string, let reference = items(entry["reference"]),
                let answer = items(entry["answer"])
            else { return nil }
            return Outcome(text: text, reference: reference, answer: answer)
        }
        guard outcomes.count == entries.count, !outcomes.isEmpty else { return nil }
        let labels = name == Self.labelName ? json["labels"]?["values"]?.object?.keys : nil
        self.init(outcomes, labels: labels.map(Array.init), seconds: json["seconds"]?.double ?? 0)
    }
}

extension SetReport.Item {
    fileprivate var json: JSON {
        guard let range else { return .string(label) }
        return ["label": .string(label), "start": .int(range.lowerBound), "end": .int(range.upperBound)]
    }

    fileprivate init?(_ json: JSON) {
        if let label = json.string {
            self.init(label)
        } else if let label = json["label"]?.string, let start = json["start"]?.int, let end = json["end"]?.int,
            start <= end
        {
            self.init(label, start..<end)
        } else {
            return nil
        }
    }
}
