import Foundation
import MoruBase

/// What an evaluation found.
public struct EvaluationReport: Sendable {
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
    }

    /// Each example, in the order of the data.
    public let outcomes: [Outcome]
    /// The figures of each label that the references give; empty when they give none.
    public let labels: [ClassificationMetrics]
    /// How near the answers come to the references as texts, by the metrics that were asked for.
    public let texts: [TextScore]
    /// Perplexity of the right answers.
    public let perplexity: Perplexity
    /// Tokens of all prompts.
    public let promptTokens: Int
    /// Tokens of all answers.
    public let generatedTokens: Int
    /// Seconds that generating took, loading not counted.
    public let seconds: Double

    /// The share of answers that equal the reference.
    public var exactMatch: Double {
        outcomes.isEmpty ? 0 : Double(outcomes.count { $0.isExact }) / Double(outcomes.count)
    }

    /// The bits that the right answers, with what ends them, take for each of their bytes: comparable between models
    /// of different tokenizers.
    public var bitsPerByte: Double {
        let bytes = outcomes.reduce(0) { $0 + $1.reference.utf8.count }
        return bytes > 0 ? perplexity.negativeLogLikelihood / log(2) / Double(bytes) : .nan
    }

    /// Where ``exactMatch`` of another sample like this one would lie, 95 times of 100.
    public var exactMatchInterval: ConfidenceInterval? {
        ConfidenceInterval(bootstrapping: outcomes.count) { indices in
            Double(indices.count { outcomes[$0].isExact }) / Double(indices.count)
        }
    }

    /// Tokens read and written a second.
    public var tokensPerSecond: Double {
        seconds > 0 ? Double(promptTokens + generatedTokens) / seconds : 0
    }

    /// The report as JSON.
    ///
    /// - Parameter includingOutcomes: Whether to list every example.
    public func json(includingOutcomes: Bool = false) -> JSON {
        var result = JSONObject([
            ("examples", .int(outcomes.count)), ("exact_match", .double(exactMatch)),
            ("exact_match_interval", exactMatchInterval?.json ?? .null),
            ("labels", .object(JSONObject(labels.map { ($0.name, $0.json) }))),
            ("texts", .object(JSONObject(texts.map { ($0.metric.rawValue, $0.json) }))),
            ("perplexity", .double(perplexity.value)), ("bits_per_byte", .double(bitsPerByte)),
            ("negative_log_likelihood", .double(perplexity.negativeLogLikelihood)),
            ("scored_tokens", .int(perplexity.tokens)), ("prompt_tokens", .int(promptTokens)),
            ("generated_tokens", .int(generatedTokens)), ("seconds", .double(seconds)),
            ("tokens_per_second", .double(tokensPerSecond)),
        ])
        if includingOutcomes {
            result["outcomes"] = .array(
                outcomes.map { outcome in
                    [
                        "question": .string(outcome.question), "reference": .string(outcome.reference),
                        "answer": .string(outcome.answer), "exact": .bool(outcome.isExact),
                        "predictions": .object(
                            JSONObject(outcome.predictions.sorted { $0.key < $1.key }.map { ($0, .string($1)) })),
                    ]
                })
        }
        return .object(result)
    }
}
