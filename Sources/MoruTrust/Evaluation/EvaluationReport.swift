import Foundation
import MoruBase

/// What asking a model for answers found.
public struct EvaluationReport: ScoredReport {
    /// One example's outcome.
    public struct Outcome: Sendable, Hashable {
        /// What the model was asked: the text, or the last message of the conversation.
        public let question: String
        /// The right answer.
        public let reference: String
        /// The model's answer.
        public let answer: String
        /// Whether they are the same but for white space at the ends.
        public let isExact: Bool
        /// The label values that the answer was read as, by label name.
        public let predictions: [String: String]
        /// The probability that the model gives its own answer; nil where it was not noted.
        public let confidence: Double?
        /// What the right answer takes.
        public let score: Perplexity.Score
    }

    /// Each example, in the order of the data.
    public let outcomes: [Outcome]
    /// The figures of each label that the references give; empty when they give none.
    public let labels: [ClassificationMetrics]
    /// How near the answers come to the references as texts, by the metrics that were asked for.
    public let texts: [TextScore]
    /// Perplexity of the right answers.
    public let perplexity: Perplexity
    /// Whether the model knows when its answers are exactly right.
    public let calibration: Calibration?
    /// Tokens of all prompts.
    public let promptTokens: Int
    /// Tokens of all answers.
    public let generatedTokens: Int
    /// Seconds that generating took, loading not counted.
    public let seconds: Double
    /// Every figure, with its interval.
    public let figures: [Figure]

    /// What generating took.
    struct Cost {
        var promptTokens: Int
        var generatedTokens: Int
        var seconds: Double
    }

    /// Counts outcomes.
    ///
    /// - Parameters:
    ///   - labels: The names of the labels to report.
    ///   - metrics: How to compare answers and references as texts.
    init(_ outcomes: [Outcome], labels names: [String], metrics: [TextMetric], cost: Cost) {
        self.outcomes = outcomes
        labels = names.map { name in
            let pairs = outcomes.compactMap { outcome in
                AnswerFields(outcome.reference)?.value(of: name)
                    .map { (truth: $0, prediction: outcome.predictions[name]) }
            }
            return ClassificationMetrics(name: name, pairs)
        }
        texts = metrics.map { TextScore($0, outcomes.map { (text: $0.answer, reference: $0.reference) }) }
        perplexity = Perplexity(outcomes.map(\.score))
        let answers = outcomes.compactMap { outcome in
            outcome.confidence.map { (confidence: $0, isRight: outcome.isExact) }
        }
        calibration = answers.count == outcomes.count ? Calibration(answers) : nil
        (promptTokens, generatedTokens, seconds) = (cost.promptTokens, cost.generatedTokens, cost.seconds)
        let exact = Figure.measure([Self.exactMatchKind], count: outcomes.count) { indices in
            [Double(indices.count { outcomes[$0].isExact }) / Double(indices.count)]
        }
        let rate = seconds > 0 ? Double(promptTokens + generatedTokens) / seconds : nil
        figures =
            labels.flatMap(\.figures) + texts.map(\.figure) + exact + (calibration?.figures ?? [])
            + perplexity.figures(bytes: outcomes.map { $0.reference.utf8.count })
            + [Figure(Figure.seconds, value: seconds), Figure(Figure.tokensPerSecond, value: rate)]
    }

    /// The share of answers that equal the reference.
    public var exactMatch: Double { figure("exact_match")?.value ?? 0 }

    /// The bits that the right answers, with what ends them, take for each of their bytes: comparable between models
    /// of different tokenizers.
    public var bitsPerByte: Double { figure("bits_per_byte")?.value ?? .nan }

    /// Where ``exactMatch`` of another sample like this one would lie, 95 times of 100.
    public var exactMatchInterval: ConfidenceInterval? { figure("exact_match")?.interval }

    /// Tokens read and written a second.
    public var tokensPerSecond: Double { figure("tokens_per_second")?.value ?? 0 }

    /// The examples: those that text metrics judge by their mean, others by whether they are right.
    public var cases: [EvaluationCase] {
        outcomes.indices.map { index in
            let outcome = outcomes[index]
            let scores = texts.compactMap { text in
                text.values[index].map { text.metric.prefersMore ? -$0 / text.metric.best : $0 }
            }
            let isRight =
                outcome.isExact
                || !labels.isEmpty
                    && labels.allSatisfy { label in
                        let truth = AnswerFields(outcome.reference)?.value(of: label.name)
                        return truth == nil || outcome.predictions[label.name] == truth
                    }
            var notes = texts.compactMap { text in
                text.values[index].map { "\(text.metric.rawValue) \(String(format: "%.3g", $0))" }
            }
            if let confidence = outcome.confidence {
                notes.append(String(format: "confidence %.0f %%", confidence * 100))
            }
            if outcome.score.tokens > 0 {
                notes.append(String(format: "loss of the right answer %.2f", outcome.score.loss))
            }
            return EvaluationCase(
                question: outcome.question, reference: outcome.reference, answer: outcome.answer,
                isRight: texts.isEmpty ? isRight : outcome.isExact,
                badness: scores.isEmpty
                    ? outcome.confidence ?? outcome.score.loss : scores.reduce(0, +) / Double(scores.count),
                note: notes.joined(separator: ", "))
        }
    }

    /// The report as JSON.
    ///
    /// - Parameter includingOutcomes: Whether to list every example.
    public func json(includingOutcomes: Bool = false) -> JSON {
        func interval(_ name: String) -> JSON { figure(name)?.interval?.json ?? .null }
        func number(_ value: Double) -> JSON { value.isFinite ? .double(value) : .null }
        var result = JSONObject([
            ("task", .string(Self.task.rawValue)), ("examples", .int(outcomes.count)),
            ("exact_match", .double(exactMatch)), ("exact_match_interval", interval("exact_match")),
            ("labels", .object(JSONObject(labels.map { ($0.name, $0.json) }))),
            ("texts", .object(JSONObject(texts.map { ($0.metric.rawValue, $0.json) }))),
            ("calibration", calibration?.json ?? .null),
            ("perplexity", number(perplexity.value)), ("perplexity_interval", interval("perplexity")),
            ("bits_per_byte", number(bitsPerByte)), ("bits_per_byte_interval", interval("bits_per_byte")),
            ("negative_log_likelihood", .double(perplexity.negativeLogLikelihood)),
            ("scored_tokens", .int(perplexity.tokens)), ("prompt_tokens", .int(promptTokens)),
            ("generated_tokens", .int(generatedTokens)), ("seconds", .double(seconds)),
            ("tokens_per_second", .double(tokensPerSecond)),
        ])
        if includingOutcomes { result["outcomes"] = .array(outcomes.map(\.json)) }
        return .object(result)
    }
}

extension EvaluationReport.Outcome {
    fileprivate var json: JSON {
        [
            "question": .string(question), "reference": .string(reference), "answer": .string(answer),
            "exact": .bool(isExact),
            "predictions": .object(JSONObject(predictions.sorted { $0.key < $1.key }.map { ($0, .string($1)) })),
            "confidence": confidence.map { .double($0) } ?? .null,
            "negative_log_likelihood": .double(score.negativeLogLikelihood), "scored_tokens": .int(score.tokens),
        ]
    }

    fileprivate init?(_ json: JSON) {
        guard let question = json["question"]?.string, let reference = json["reference"]?.string,
            let answer = json["answer"]?.string
        else { return nil }
        (self.question, self.reference, self.answer) = (question, reference, answer)
        isExact = answer.trimmingWhitespace() == reference.trimmingWhitespace()
        let read = json["predictions"]?.object.map { Array($0.members) } ?? []
        predictions = read.reduce(into: [:]) { $0[$1.key] = $1.value.string }
        confidence = json["confidence"]?.double
        score = Perplexity.Score(
            negativeLogLikelihood: json["negative_log_likelihood"]?.double ?? 0,
            tokens: json["scored_tokens"]?.int ?? 0)
    }
}

extension EvaluationReport {
    /// What it is called in recipes and JSON.
    public static var task: EvaluationTask { .answers }
    private static let exactMatchKind = Figure.Kind("exact_match")
    /// The figures that every report gives, besides those of labels and texts.
    static let fixedKinds =
        [exactMatchKind] + Calibration.figureKinds + Perplexity.figureKinds + [Figure.seconds, Figure.tokensPerSecond]

    /// Reads what ``json(includingOutcomes:)`` gave, with outcomes; nil when it is something else.
    init?(_ json: JSON) {
        guard let entries = json["outcomes"]?.array else { return nil }
        let outcomes = entries.compactMap { Outcome($0) }
        guard outcomes.count == entries.count, !outcomes.isEmpty else { return nil }
        self.init(
            outcomes, labels: json["labels"]?.object?.keys ?? [],
            metrics: (json["texts"]?.object?.keys ?? []).compactMap(TextMetric.init),
            cost: Cost(
                promptTokens: json["prompt_tokens"]?.int ?? 0, generatedTokens: json["generated_tokens"]?.int ?? 0,
                seconds: json["seconds"]?.double ?? 0))
    }
}
