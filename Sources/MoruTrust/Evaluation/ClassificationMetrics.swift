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
    /// Where ``accuracy`` and ``macroF1`` of another sample like this one would lie, 95 times of 100.
    public let accuracyInterval, macroF1Interval: ConfidenceInterval?

    /// Counts predictions.
    ///
    /// - Parameters:
    ///   - name: The label's name.
    ///   - pairs: The true value of each example, and the predicted one; nil where the answer gave none.
    public init(name: String, _ pairs: [(truth: String, prediction: String?)]) {
        self.name = name
        let values = Set(pairs.map(\.truth)).sorted()
        let places = Dictionary(uniqueKeysWithValues: values.enumerated().map { ($1, $0) })
        let cells = pairs.compactMap { pair in
            places[pair.truth].map { (row: $0, column: pair.prediction.flatMap { places[$0] } ?? values.count) }
        }
        func confusion(_ indices: some Sequence<Int>) -> [[Int]] {
            var counts = values.map { _ in Array(repeating: 0, count: values.count + 1) }
            for index in indices { counts[cells[index].row][cells[index].column] += 1 }
            return counts
        }
        self.values = values
        self.confusion = confusion(cells.indices)
        accuracyInterval = ConfidenceInterval(bootstrapping: cells.count) { indices in
            Self.share(indices.count { cells[$0].row == cells[$0].column }, of: indices.count)
        }
        macroF1Interval = ConfidenceInterval(bootstrapping: cells.count) { Self.macroF1(confusion($0)) }
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
    public var macroF1: Double { Self.macroF1(confusion) }

    private static func macroF1(_ confusion: [[Int]]) -> Double {
        guard !confusion.isEmpty else { return 0 }
        let sum = confusion.indices.reduce(0.0) { sum, index in
            // Found and given: F1 is twice the right ones over both
            let found = confusion[index].reduce(0, +), given = confusion.reduce(0) { $0 + $1[index] }
            return sum + share(2 * confusion[index][index], of: found + given)
        }
        return sum / Double(confusion.count)
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
            "accuracy": .double(accuracy), "accuracy_interval": accuracyInterval?.json ?? .null,
            "macro_f1": .double(macroF1), "macro_f1_interval": macroF1Interval?.json ?? .null,
            "unreadable": .int(unreadable),
            "values": .object(JSONObject(labels)),
            "confusion": [
                "rows_true": .array(values.map { .string($0) }),
                "columns_predicted": .array((values + ["(none)"]).map { .string($0) }),
                "counts": .array(confusion.map { .array($0.map { .int($0) }) }),
            ],
        ]
    }
}
