import Foundation
import MoruBase
import MoruTraining

/// What evaluating a model's head found.
public struct HeadReport: ScoredReport {
    /// One text.
    public struct Outcome: Sendable, Hashable {
        /// The text.
        public let text: String
        /// The right label or number, and the head's.
        public let reference, answer: String
        /// The probability of the head's label; nil for a number.
        public let confidence: Double?

        /// How far a number is from the right one.
        var error: Double { (Double(answer) ?? .nan) - (Double(reference) ?? .nan) }
    }

    /// Each text, in the order of the data.
    public let outcomes: [Outcome]
    /// Whether the head tells numbers.
    public let isNumber: Bool
    /// Accuracy, F1 and the confusion matrix; empty for numbers.
    public let labels: [ClassificationMetrics]
    /// Whether the head knows what it knows; nil for numbers.
    public let calibration: Calibration?
    /// Seconds that it took, loading not counted.
    public let seconds: Double
    /// Every figure, with its interval.
    public let figures: [Figure]

    init(_ outcomes: [Outcome], isNumber: Bool, seconds: Double) {
        (self.outcomes, self.isNumber, self.seconds) = (outcomes, isNumber, seconds)
        let time = [Figure(Figure.seconds, value: seconds)]
        guard !isNumber else {
            (labels, calibration) = ([], nil)
            let pairs = outcomes.map { (truth: Double($0.reference) ?? .nan, found: Double($0.answer) ?? .nan) }
            let measured = Figure.measure(Self.numberKinds, count: pairs.count) { indices in
                Self.errors(indices.map { pairs[$0] })
            }
            figures = measured + time
            return
        }
        labels = [
            ClassificationMetrics(
                name: Self.labelName, outcomes.map { (truth: $0.reference, prediction: $0.answer) })
        ]
        calibration = Calibration(
            outcomes.map { (confidence: $0.confidence ?? 0, isRight: $0.answer == $0.reference) })
        figures = labels.flatMap(\.figures) + (calibration?.figures ?? []) + time
    }

    /// Root mean squared error, mean absolute error and Pearson's correlation, which is undefined where either side
    /// does not vary.
    private static func errors(_ pairs: [(truth: Double, found: Double)]) -> [Double?] {
        let count = Double(pairs.count)
        let (squares, distances) = pairs.reduce((0.0, 0.0)) { sums, pair in
            let error = pair.found - pair.truth
            return (sums.0 + error * error, sums.1 + abs(error))
        }
        return [
            (squares / count).squareRoot(), distances / count,
            Correlation.pearson(pairs.map(\.truth), pairs.map(\.found)),
        ]
    }
}

extension HeadReport {
    /// What it is called in recipes and JSON.
    public static var task: EvaluationTask { .head }
    private static let labelName = "label"
    private static let numberKinds = [
        Figure.Kind("rmse", "RMSE", unit: .number, prefersMore: false),
        Figure.Kind("mae", "MAE", unit: .number, prefersMore: false),
        Figure.Kind("pearson", "Pearson", unit: .number),
    ]

    /// The figures of numbers.
    static var numberFigures: [Figure.Kind] { numberKinds + [Figure.seconds] }

    /// The figures of labels.
    static func labelFigures(_ labels: Set<String>) -> [Figure.Kind] {
        ClassificationMetrics.kinds(labelName, labels.sorted()) + Calibration.figureKinds + [Figure.seconds]
    }

    /// The texts; the worst are those whose wrong label the head is surest of, or whose number is farthest off.
    public var cases: [EvaluationCase] {
        outcomes.map { outcome in
            EvaluationCase(
                question: outcome.text, reference: outcome.reference, answer: outcome.answer,
                isRight: isNumber ? nil : outcome.answer == outcome.reference,
                badness: outcome.confidence ?? abs(outcome.error),
                note: outcome.confidence.map { String(format: "confidence %.0f %%", $0 * 100) }
                    ?? String(format: "off by %.3g", outcome.error))
        }
    }

    /// The report as JSON.
    ///
    /// - Parameter includingOutcomes: Whether to list every text.
    public func json(includingOutcomes: Bool = false) -> JSON {
        var result = JSONObject([("task", .string(Self.task.rawValue)), ("examples", .int(outcomes.count))])
        if isNumber {
            for kind in Self.numberKinds {
                result[kind.name] = figure(kind.name)?.value.map { .double($0) } ?? .null
                result[kind.name + "_interval"] = figure(kind.name)?.interval?.json ?? .null
            }
        } else {
            result["labels"] = .object(JSONObject(labels.map { ($0.name, $0.json) }))
            result["calibration"] = calibration?.json ?? .null
        }
        result["seconds"] = .double(seconds)
        if includingOutcomes {
            result["outcomes"] = .array(
                outcomes.map { outcome in
                    [
                        "text": .string(outcome.text), "reference": .string(outcome.reference),
                        "answer": .string(outcome.answer),
                        "confidence": outcome.confidence.map { .double($0) } ?? .null,
                    ]
                })
        }
        return .object(result)
    }

    /// Reads what ``json(includingOutcomes:)`` gave, with outcomes; nil when it is something else.
    init?(_ json: JSON) {
        guard let entries = json["outcomes"]?.array else { return nil }
        let outcomes = entries.compactMap { entry -> Outcome? in
            guard let text = entry["text"]?.string, let reference = entry["reference"]?.string,
                let answer = entry["answer"]?.string
            else { return nil }
            return Outcome(text: text, reference: reference, answer: answer, confidence: entry["confidence"]?.double)
        }
        guard outcomes.count == entries.count, !outcomes.isEmpty else { return nil }
        self.init(outcomes, isNumber: json["rmse"] != nil, seconds: json["seconds"]?.double ?? 0)
    }
}
