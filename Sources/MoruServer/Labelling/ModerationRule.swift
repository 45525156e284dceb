import MoruBase
import MoruModels

/// How a classifier's labels become the categories of a moderation.
///
/// Every label is a category but the one that says there is nothing: `OK`, `safe`, `neutral`, or another's opposite,
/// such as `non-toxic`. A text is in the categories that `moru classify` gives it as labels: where a text has one label,
/// the likeliest; where it may have several, those with a score of 0.5 or more. It is flagged if it is in any.
struct ModerationRule: Sendable {
    private let configuration: HeadConfiguration
    /// The outputs that are categories.
    private let categories: [Int]

    private static let harmless: Set<String> = [
        "ok", "okay", "safe", "neutral", "none", "normal", "clean", "benign", "harmless", "acceptable", "appropriate",
        "nothing", "sfw", "ham", "legit", "legitimate",
    ]

    /// The rule for a model.
    ///
    /// - Throws: ``APIError`` for a model that gives numbers, or one label of several of which none is harmless.
    init(_ configuration: HeadConfiguration, model: String) throws(APIError) {
        self.configuration = configuration
        let names = configuration.labels.map(Self.plain)
        categories = names.indices.filter { !Self.isHarmless(names[$0], among: names) }
        guard configuration.problem != .regression, !categories.isEmpty else {
            throw .invalid(
                "model_not_suitable", "The model '\(model)' has no categories that a text may be in.", param: "model")
        }
        guard configuration.problem == .multiLabel || categories.count < names.count else {
            throw .invalid(
                "model_not_suitable",
                "The model '\(model)' gives every text one of the labels \(configuration.labels.quoted), and none of "
                    + "them says that there is nothing to flag; name that one 'OK' in the model's config.json "
                    + "(id2label).", param: "model")
        }
    }

    /// An element of `results`.
    func result(_ logits: [Float]) -> JSON {
        let scores = configuration.probabilities(logits)
        let held = Set(configuration.classification(logits).labels)
        func object(_ value: (Int) -> JSON) -> JSON {
            .object(JSONObject(categories.map { (configuration.labels[$0], value($0)) }))
        }
        return [
            "flagged": .bool(categories.contains { held.contains(configuration.labels[$0]) }),
            "categories": object { .bool(held.contains(configuration.labels[$0])) },
            "category_scores": object { .shortest(scores[$0]) },
            "category_applied_input_types": object { _ in ["text"] },
        ]
    }

    /// A label without case and punctuation.
    private static func plain(_ label: String) -> String { label.lowercased().filter { $0.isLetter || $0.isNumber } }

    private static func isHarmless(_ label: String, among labels: [String]) -> Bool {
        if harmless.contains(label) { return true }
        return ["non", "not", "no"].contains { prefix in
            label.hasPrefix(prefix) && labels.contains(String(label.dropFirst(prefix.count)))
        }
    }
}
