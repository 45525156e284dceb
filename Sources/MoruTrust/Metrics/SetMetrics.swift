import MoruBase

/// How well sets of things were found, such as the labels of texts or the names in them: precision, recall and F1, with
/// the figures of scikit-learn for labels, and of seqeval for spans.
public struct SetMetrics: Sendable, Hashable {
    /// A thing with a label; equal ones are the same.
    public protocol Item: Hashable {
        /// What kind of thing it is.
        var label: String { get }
    }

    /// What the things are: `label`, `span`.
    public let name: String
    /// The figures of each label, in the order given.
    public let byLabel: [ClassificationMetrics.ValueMetrics]
    /// Precision, recall and F1 of all things together (micro), the means of F1 over labels (macro) and things
    /// (weighted), the share of examples without a mistake, and each label's figures; the names begin with `name`.
    public let figures: [Figure]

    /// Right things, those found and those wanted.
    private struct Count {
        var right = 0, found = 0, wanted = 0

        static func += (left: inout Count, right: Count) {
            left.right += right.right
            left.found += right.found
            left.wanted += right.wanted
        }

        /// Nil where nothing is there to be right about.
        var precision: Double? { found > 0 ? Double(right) / Double(found) : nil }
        var recall: Double? { wanted > 0 ? Double(right) / Double(wanted) : nil }
        var f1: Double? { found + wanted > 0 ? Double(2 * right) / Double(found + wanted) : nil }
    }

    /// Counts what was found.
    ///
    /// - Parameters:
    ///   - name: What the things are.
    ///   - labels: Every label that things may have.
    ///   - pairs: What each example has, and what was found in it.
    public init<Thing: Item>(_ name: String, labels: [String], _ pairs: [(truth: Set<Thing>, found: Set<Thing>)]) {
        self.name = name
        let places = Dictionary(labels.enumerated().map { ($1, $0) }, uniquingKeysWith: { first, _ in first })
        let examples = pairs.map { pair -> [(place: Int, count: Count)] in
            var counts: [Int: Count] = [:]
            for thing in pair.truth.union(pair.found) {
                guard let place = places[thing.label] else { continue }
                let (isWanted, isFound) = (pair.truth.contains(thing), pair.found.contains(thing))
                counts[place, default: Count()] += Count(
                    right: isWanted && isFound ? 1 : 0, found: isFound ? 1 : 0, wanted: isWanted ? 1 : 0)
            }
            return counts.map { (place: $0.key, count: $0.value) }
        }
        let isExact = pairs.map { $0.truth == $0.found }
        func counts(_ indices: [Int]) -> [Count] {
            var counts = labels.map { _ in Count() }
            for index in indices { for entry in examples[index] { counts[entry.place] += entry.count } }
            return counts
        }
        let all = counts(Array(pairs.indices))
        byLabel = zip(labels, all).map { label, count in
            ClassificationMetrics.ValueMetrics(
                value: label, precision: count.precision ?? 0, recall: count.recall ?? 0, f1: count.f1 ?? 0,
                support: count.wanted)
        }
        figures = Figure.measure(Self.kinds(name, labels), count: pairs.count) { indices in
            let counts = counts(indices)
            let total = counts.reduce(into: Count()) { $0 += $1 }
            let mean = counts.reduce(0) { $0 + ($1.f1 ?? 0) } / Double(max(1, counts.count))
            let weighted = counts.reduce(0) { $0 + ($1.f1 ?? 0) * Double($1.wanted) }
            return [
                total.f1, total.precision, total.recall, counts.isEmpty ? nil : mean,
                total.wanted > 0 ? weighted / Double(total.wanted) : nil,
                Double(indices.count { isExact[$0] }) / Double(indices.count),
            ] + counts.flatMap { [$0.precision, $0.recall, $0.f1] }
        }
    }

    /// The figures of things with some labels.
    static func kinds(_ name: String, _ labels: [String]) -> [Figure.Kind] {
        let whole = [
            ("micro_f1", "\(name) micro F1", false), ("micro_precision", "\(name) precision", false),
            ("micro_recall", "\(name) recall", false), ("macro_f1", "\(name) macro F1", false),
            ("weighted_f1", "\(name) weighted F1", true), ("subset_accuracy", "texts without a mistake", false),
        ]
        return whole.map { Figure.Kind("\(name).\($0.0)", $0.1, label: name, isDetail: $0.2) }
            + ClassificationMetrics.valueKinds(name, labels)
    }

    /// A figure by its name without that of the things.
    public func figure(_ key: String) -> Figure? { figures.first { $0.kind.name == "\(name).\(key)" } }

    /// The figures as JSON.
    public var json: JSON {
        var result = JSONObject()
        for figure in figures.prefix(figures.count - 3 * byLabel.count) {
            let key = String(figure.kind.name.dropFirst(name.count + 1))
            result[key] = figure.value.map { .double($0) } ?? .null
            result[key + "_interval"] = figure.interval?.json ?? .null
        }
        result["values"] = .object(
            JSONObject(byLabel.map { ($0.value, $0.json(f1: figure("\($0.value).f1"))) }))
        return .object(result)
    }
}
