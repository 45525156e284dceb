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

        /// The figures as JSON.
        ///
        /// - Parameter figure: F1 with its interval.
        func json(f1 figure: Figure?) -> JSON {
            [
                "precision": .double(precision), "recall": .double(recall), "f1": .double(f1),
                "f1_interval": figure?.interval?.json ?? .null, "support": .int(support),
            ]
        }
    }

    /// The label's name.
    public let name: String
    /// The known values, sorted; the rows of the confusion matrix.
    public let values: [String]
    /// Counts by true value (row) and predicted value (column); the last column counts answers that gave none.
    public let confusion: [[Int]]
    /// Accuracy, the means of F1, and each value's precision, recall and F1, with their intervals; the names begin with
    /// the label's.
    public let figures: [Figure]

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
        figures = Figure.measure(Self.kinds(name, values), count: cells.count) { indices in
            let counts = confusion(indices)
            return [Self.accuracy(counts)] + Self.means(counts) + values.indices.flatMap { Self.rates(counts, $0) }
        }
    }

    /// The figures of a label with some values.
    static func kinds(_ name: String, _ values: [String]) -> [Figure.Kind] {
        func kind(_ key: String, _ title: String, isDetail: Bool) -> Figure.Kind {
            Figure.Kind("\(name).\(key)", title, label: name, isDetail: isDetail)
        }
        let whole = [
            kind("accuracy", "\(name) accuracy", isDetail: false),
            kind("macro_f1", "\(name) macro F1", isDetail: false),
            kind("micro_f1", "\(name) micro F1", isDetail: true),
            kind("weighted_f1", "\(name) weighted F1", isDetail: true),
        ]
        return whole + valueKinds(name, values)
    }

    /// Precision, recall and F1 of each value.
    static func valueKinds(_ name: String, _ values: [String]) -> [Figure.Kind] {
        values.flatMap { value in
            [("precision", "precision", true), ("recall", "recall", true), ("f1", "F1", false)].map {
                Figure.Kind(
                    "\(name).\(value).\($0.0)", "  \(value) \($0.1)", label: name, isDetail: $0.2)
            }
        }
    }

    /// The number of examples.
    public var count: Int { confusion.reduce(0) { $0 + $1.reduce(0, +) } }
    /// The share of examples whose value was found.
    public var accuracy: Double { Self.accuracy(confusion) }
    /// The number of answers that gave no known value.
    public var unreadable: Int { confusion.reduce(0) { $0 + $1[values.count] } }
    /// The mean F1 over the values.
    public var macroF1: Double { Self.means(confusion)[0] }
    /// F1 of all values' counts together: below the accuracy where answers gave no known value.
    public var microF1: Double { Self.means(confusion)[1] }
    /// The mean F1 over the examples' values.
    public var weightedF1: Double { Self.means(confusion)[2] }

    private static func accuracy(_ confusion: [[Int]]) -> Double {
        share(confusion.enumerated().reduce(0) { $0 + $1.element[$1.offset] }, of: confusion.joined().reduce(0, +))
    }

    /// Macro, micro and weighted F1.
    private static func means(_ confusion: [[Int]]) -> [Double] {
        guard !confusion.isEmpty else { return [0, 0, 0] }
        var (sum, weighted, right, found, given) = (0.0, 0.0, 0, 0, 0)
        for index in confusion.indices {
            // Found and given: F1 is twice the right ones over both
            let support = confusion[index].reduce(0, +), answered = confusion.reduce(0) { $0 + $1[index] }
            let f1 = share(2 * confusion[index][index], of: support + answered)
            sum += f1
            weighted += f1 * Double(support)
            (right, found, given) = (right + confusion[index][index], found + support, given + answered)
        }
        return [
            sum / Double(confusion.count), share(2 * right, of: found + given),
            found > 0 ? weighted / Double(found) : 0,
        ]
    }

    /// Precision, recall and F1 of a value; nil where nothing is there to be right about.
    private static func rates(_ confusion: [[Int]], _ index: Int) -> [Double?] {
        let right = confusion[index][index], support = confusion[index].reduce(0, +)
        let answered = confusion.reduce(0) { $0 + $1[index] }
        return [
            answered > 0 ? share(right, of: answered) : nil, support > 0 ? share(right, of: support) : nil,
            support + answered > 0 ? share(2 * right, of: support + answered) : nil,
        ]
    }

    /// A figure by its name without the label's.
    public func figure(_ key: String) -> Figure? { figures.first { $0.kind.name == "\(name).\(key)" } }

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
        let labels = byValue.map { ($0.value, $0.json(f1: figure("\($0.value).f1"))) }
        return [
            "accuracy": .double(accuracy), "accuracy_interval": figure("accuracy")?.interval?.json ?? .null,
            "macro_f1": .double(macroF1), "macro_f1_interval": figure("macro_f1")?.interval?.json ?? .null,
            "micro_f1": .double(microF1), "micro_f1_interval": figure("micro_f1")?.interval?.json ?? .null,
            "weighted_f1": .double(weightedF1), "weighted_f1_interval": figure("weighted_f1")?.interval?.json ?? .null,
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
