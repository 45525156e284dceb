import MoruBase

/// How well one label was predicted: accuracy, precision, recall, F1 and the confusion matrix.
public struct ClassificationMetrics: Sendable, Hashable {
    /// The figures of one value.
    public struct ValueMetrics: Sendable, Hashable {
        /// The value.
        public let value: String
        /// Of the answers that gave this value, the share that were right; 0 when there were none.
        public let precision: Double
        /// Of the examples with this value, the share that were found.
        public let recall: Double
        /// The harmonic mean of precision and recall.
        public let f1: Double
        /// The number of examples with this value.
        public let support: Int
    }

    /// The label's name.
    public let name: String
    /// The known values, sorted; the rows of the confusion matrix.
    public let values: [String]
    /// Counts by true value (row) and predicted value (column); the last column counts answers that gave none.
    public let confusion: [[Int]]

    /// Counts predictions.
    ///
    /// - Parameters:
    ///   - name: The label's name.
    ///   - pairs: The true value of each example, and the predicted one; nil where the answer gave none.
    public init(name: String, _ pairs: [(truth: String, prediction: String?)]) {
        self.name = name
        let values = Set(pairs.map(\.truth)).sorted()
        var confusion = values.map { _ in Array(repeating: 0, count: values.count + 1) }
        for (truth, prediction) in pairs {
            guard let row = values.firstIndex(of: truth) else { continue }
            confusion[row][prediction.flatMap { values.firstIndex(of: $0) } ?? values.count] += 1
        }
        self.values = values
        self.confusion = confusion
    }

    /// The number of examples.
    public var count: Int { confusion.reduce(0) { $0 + $1.reduce(0, +) } }
    /// The share of examples whose value was found.
    public var accuracy: Double {
        Self.share(confusion.enumerated().reduce(0) { $0 + $1.element[$1.offset] }, of: count)
    }
    /// The number of answers that gave no known value.
    public var unreadable: Int { confusion.reduce(0) { $0 + $1[values.count] } }
    /// The mean F1 over the values.
    public var macroF1: Double {
        values.isEmpty ? 0 : byValue.reduce(0) { $0 + $1.f1 } / Double(values.count)
    }

    /// The figures of each value, in the order of ``values``.
    public var byValue: [ValueMetrics] {
        values.indices.map { index in
            let right = confusion[index][index]
            let predicted = confusion.reduce(0) { $0 + $1[index] }
            let support = confusion[index].reduce(0, +)
            let (precision, recall) = (Self.share(right, of: predicted), Self.share(right, of: support))
            let sum = precision + recall
            return ValueMetrics(
                value: values[index], precision: precision, recall: recall,
                f1: sum > 0 ? 2 * precision * recall / sum : 0, support: support)
        }
    }

    private static func share(_ part: Int, of whole: Int) -> Double { whole > 0 ? Double(part) / Double(whole) : 0 }

    /// The figures as JSON.
    public var json: JSON {
        let labels = byValue.map { value -> (String, JSON) in
            (
                value.value,
                [
                    "precision": .double(value.precision), "recall": .double(value.recall), "f1": .double(value.f1),
                    "support": .int(value.support),
                ]
            )
        }
        return [
            "accuracy": .double(accuracy), "macro_f1": .double(macroF1), "unreadable": .int(unreadable),
            "values": .object(JSONObject(labels)),
            "confusion": [
                "rows_true": .array(values.map { .string($0) }),
                "columns_predicted": .array((values + ["(none)"]).map { .string($0) }),
                "counts": .array(confusion.map { .array($0.map { .int($0) }) }),
            ],
        ]
    }
}
