import MoruBase
import MoruNN

/// What a head tells of a text, and under which names: what `config.json` of transformers says of it.
public struct HeadConfiguration: Sendable, Hashable {
    /// What the head looks at.
    public enum Place: String, Sendable, Hashable, CaseIterable {
        /// The whole text (`...ForSequenceClassification`).
        case sequence
        /// Each of its tokens (`...ForTokenClassification`).
        case token
    }

    /// How its outputs are meant, as `problem_type` names it.
    public enum Problem: String, Sendable, Hashable, CaseIterable {
        /// One label of several: a softmax over the outputs.
        case singleLabel = "single_label_classification"
        /// Any of the labels: a logistic function of each output.
        case multiLabel = "multi_label_classification"
        /// Numbers, as they are.
        case regression
    }

    /// What the head looks at.
    public var place: Place
    /// How its outputs are meant.
    public var problem: Problem
    /// The name of each output.
    public var labels: [String]
    /// The probability with which features are dropped in training before the last layer.
    public var dropout: Float

    /// Makes a configuration.
    public init(_ place: Place, labels: [String], problem: Problem = .singleLabel, dropout: Float = 0) {
        self.place = place
        self.problem = problem
        self.labels = labels
        self.dropout = dropout
    }

    /// The configuration of a head of one number, such as a rating.
    public static func regression(name: String = "value", dropout: Float = 0) -> HeadConfiguration {
        HeadConfiguration(.sequence, labels: [name], problem: .regression, dropout: dropout)
    }
}

extension HeadConfiguration {
    private static let suffixes: [Place: String] = [
        .sequence: "ForSequenceClassification", .token: "ForTokenClassification",
    ]

    /// The place that a `config.json` names by its architecture; nil for a model without such a head.
    static func place(in config: JSON) -> Place? {
        guard let name = config["architectures"]?[0]?.string else { return nil }
        return Place.allCases.first { suffixes[$0].map(name.hasSuffix) ?? false }
    }

    /// Reads what a `config.json` says of its head.
    ///
    /// As transformers, it takes two labels where none are named, and a single output for a number.
    ///
    /// - Throws: ``MoruError/Code/modelConfiguration``.
    init(config: JSON, place: Place, source: String) throws(MoruError) {
        let reader = ConfigurationReader(json: config, source: source)
        let labels: [String]
        if let names = config["id2label"]?.object, !names.keys.isEmpty {
            var found: [String] = []
            for number in 0..<names.keys.count {
                guard let name = names[String(number)]?.string else {
                    throw reader.unexpected("id2label", .object(names), "names by the numbers from 0 on")
                }
                found.append(name)
            }
            labels = found
        } else {
            labels = (0..<(try reader.size("num_labels", default: 2))).map { "LABEL_\($0)" }
        }
        let type = try reader.text("problem_type")
        if let type, Problem(rawValue: type) == nil {
            throw reader.unsupported(
                "problem_type", remedy: "it is one of \(Problem.allCases.map(\.rawValue).joined(separator: ", "))")
        }
        let usual: Problem = place == .sequence && labels.count == 1 ? .regression : .singleLabel
        self.init(place, labels: labels, problem: type.flatMap(Problem.init) ?? usual)
    }

    /// A model's `config.json`, with what a head of this configuration adds to it.
    ///
    /// - Parameter family: The beginning of the class names of transformers, such as `Llama`.
    func added(to config: JSONObject, family: String) -> JSONObject {
        var config = config
        config["architectures"] = .array([.string(family + (Self.suffixes[place] ?? ""))])
        config["num_labels"] = nil
        config["id2label"] = .object(JSONObject(labels.enumerated().map { (String($0), .string($1)) }))
        config["label2id"] = .object(JSONObject(labels.enumerated().map { ($1, .int($0)) }))
        config["problem_type"] = place == .sequence ? .string(problem.rawValue) : nil
        return config
    }
}
