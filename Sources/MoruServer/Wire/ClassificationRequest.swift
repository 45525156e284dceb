import MoruBase
import MoruModels

/// The body of `POST /classify`, as vLLM has it.
struct ClassificationRequest: Sendable {
    var model: ModelChoice
    var texts: TextInputs
    /// Whether logits become probabilities.
    var usesActivation: Bool

    /// Reads the body.
    init(_ json: JSON) throws(APIError) {
        var request = try RequestObject(json)
        model = try ModelChoice(&request)
        texts = try TextInputs(&request)
        usesActivation = try request.bool("use_activation") ?? true
        try request.refuse("softmax", "use 'use_activation', which is true unless you say otherwise")
        try request.refuse("activation", "use 'use_activation', which is true unless you say otherwise")
        try request.finish()
    }
}

extension HeadConfiguration {
    /// What a head says of a text, as an element of `data` of the answer of `POST /classify`.
    ///
    /// `label`, `probs` (in the order of the labels) and `num_classes` are vLLM's; `labels` are those that the text has,
    /// of which there may be any number where each is decided for itself, and `scores` gives each by its name.
    func classification(at index: Int, _ logits: [Float], usesActivation: Bool) -> JSON {
        let values = usesActivation ? probabilities(logits) : logits
        let best = values.indices.max { values[$0] < values[$1] } ?? 0
        let held = classification(logits).labels
        return [
            "index": .int(index), "label": .string(labels[best]), "probs": .array(values.map { .shortest($0) }),
            "num_classes": .int(labels.count), "labels": .array(held.map { .string($0) }),
            "scores": .object(JSONObject(zip(labels, values).map { ($0, .shortest($1)) })),
        ]
    }
}
