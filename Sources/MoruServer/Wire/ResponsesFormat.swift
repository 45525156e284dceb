import Foundation
import MoruBase

/// Responses: an answer as a list of items, its text in one and each call of a function in one.
struct ResponsesFormat: AnswerFormat {
    /// What every mention of the response has in common.
    let head: AnswerHead
    /// What the response says of its request.
    let request: JSONObject
    /// Whether text comes with log-probabilities.
    let hasScores: Bool

    /// The format of a request's response.
    init(_ request: ResponsesRequest, _ plan: AnswerPlan, head: AnswerHead) {
        self.head = head
        hasScores = request.logProbabilities != nil
        var members = request.echoed
        // What was left to the model is told too
        let options = plan.choices.first?.options
        members["temperature"] = options?.temperature.map { .shortest($0) } ?? .null
        members["top_p"] = .shortest(options?.topP ?? plan.model.generator.pretrained.generationDefaults.topP ?? 1)
        self.request = members
    }

    func answer(_ choices: [CollectedChoice], _ usage: TokenUsage) -> JSON {
        var events = ResponseEvents(self)
        for choice in choices { for event in choice.events { _ = events.take(event) } }
        return events.response(usage)
    }

    func frames(includingUsage: Bool) -> any AnswerFrames { ResponseEvents(self) }

    /// The response in some state.
    func response(
        status: String, output: [JSON] = [], usage: TokenUsage? = nil, error: JSON = .null, isCut: Bool = false
    ) -> JSON {
        let state: [(String, JSON)] = [
            ("status", .string(status)), ("background", false), ("error", error),
            ("completed_at", status == "completed" ? .int(Int(Date().timeIntervalSince1970)) : .null),
            ("incomplete_details", isCut ? ["reason": "max_output_tokens"] : .null), ("output", .array(output)),
            ("usage", usage?.responseJSON ?? .null),
        ]
        return .object(
            JSONObject(
                [
                    ("id", .string(head.id)), ("object", "response"), ("created_at", .int(head.created)),
                    ("model", .string(head.model)), ("system_fingerprint", .string(head.fingerprint)),
                ] + state + request.members.map { ($0.key, $0.value) }))
    }
}
