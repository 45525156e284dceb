import MoruBase

/// What a model is evaluated by.
public enum EvaluationTask: String, Sendable, Hashable, CaseIterable {
    /// It answers questions, and the answers are compared with the right ones.
    case answers
    /// It is asked which of several answers it finds likeliest.
    case choice
    /// It reads texts, and what counts is how well it predicts them.
    case text
    /// Its head labels texts, finds spans in them, or tells a number of them.
    case head
}

/// What one model's evaluation found, whatever its task.
public protocol ScoredReport: Sendable {
    /// What was done.
    static var task: EvaluationTask { get }
    /// Every figure, with its interval.
    var figures: [Figure] { get }
    /// The figures of each label; empty where there are none.
    var labels: [ClassificationMetrics] { get }
    /// Whether the model knows what it knows; nil where that is not asked.
    var calibration: Calibration? { get }
    /// The examples, in the order of the data.
    var cases: [EvaluationCase] { get }
    /// The report as JSON, every example listed or not.
    func json(includingOutcomes: Bool) -> JSON
}

extension ScoredReport {
    /// A figure by its whole name.
    public func figure(_ name: String) -> Figure? { figures.first { $0.kind.name == name } }
}

/// One example as a reader sees it.
public struct EvaluationCase: Sendable, Hashable {
    /// What was asked, the right answer, and the model's.
    public let question, reference, answer: String
    /// Whether the answer is right; nil where answers are not right or wrong.
    public let isRight: Bool?
    /// How bad the answer is: worse ones have more. Comparable within one evaluation.
    public let badness: Double
    /// What is worth knowing of it, such as the model's confidence.
    public let note: String
}

/// Reads reports that were saved.
enum SavedReport {
    /// The report of an object.
    ///
    /// - Throws: ``MoruError/Code/evaluationData`` when it is none, or lists no examples.
    static func read(_ json: JSON, source: String) throws(MoruError) -> any ScoredReport {
        try check(json, source)
        for (number, outcome) in (json["outcomes"]?.array ?? []).enumerated() {
            try check(outcome, "\(source), outcome \(number + 1)")
        }
        // Reports of the first versions do not name their task
        let task = json["task"]?.string.flatMap(EvaluationTask.init) ?? .answers
        let report: (any ScoredReport)? =
            switch task {
            case .answers: EvaluationReport(json)
            case .choice: MultipleChoice.Report(json)
            case .text: TextReport(json)
            case .head: json["sets"] == nil ? HeadReport(json) : SetReport(json)
            }
        guard let report else {
            throw MoruError(
                .evaluationData, "\(source) is not a report with answers", remedy: "make it with moru eval --save")
        }
        return report
    }

    /// The numbers that a report is computed anew from, as they may be. Rounding may take the shares a little too far.
    private static let numbers: [(key: String, range: ClosedRange<Double>, isWhole: Bool)] = [
        ("confidence", -0.001...1.001, false), ("negative_log_likelihood", -1...1e15, false),
        ("scored_tokens", 0...1e12, true), ("prompt_tokens", 0...1e15, true), ("generated_tokens", 0...1e15, true),
        ("seconds", 0...1e12, false),
    ]

    private static func check(_ object: JSON, _ place: String) throws(MoruError) {
        for (key, range, isWhole) in numbers {
            guard let value = object[key] else { continue }
            if let number = value.double, range.contains(number), !isWhole || value.int != nil { continue }
            throw MoruError(
                .evaluationData, "\(place): \(key) is \(value.text())",
                remedy: "the report is damaged: make it again with moru eval --save")
        }
    }
}
