import MoruModels

/// How often a head was right, in sums that batches add up.
struct HeadCounts {
    private(set) var sums: [String: Double] = [:]

    init(_ configuration: HeadConfiguration, _ logits: [Float], _ examples: [HeadExample]) {
        let width = configuration.labels.count
        let rows = stride(from: 0, to: logits.count, by: width).map { Array(logits[$0..<$0 + width]) }
        var begin = 0
        for example in examples {
            switch example.target {
            case .label(let label):
                count(Self.best(rows[begin]), Int(label))
                begin += 1
            case .labels(let labels):
                count(rows[begin].map { $0 >= 0 }, labels.map { $0 >= 0.5 })
                begin += 1
            case .value: begin += 1
            case .texts, .scored: preconditionFailure("a head does not compare texts")
            case .tags(let tags):
                count(rows[begin..<begin + tags.count].map(Self.best), tags.map(Int.init), configuration.labels)
                begin += tags.count
            }
        }
    }

    private static func best(_ row: [Float]) -> Int { row.indices.max { row[$0] < row[$1] } ?? 0 }

    private mutating func count(_ found: Int, _ wanted: Int) {
        if found == wanted { add("accuracy") }
        add("found.\(found)")
        add("wanted.\(wanted)")
        if found == wanted { add("right.\(found)") }
    }

    private mutating func count(_ found: [Bool], _ wanted: [Bool]) {
        if found == wanted { add("accuracy") }
        add("found.", Double(found.count { $0 }))
        add("wanted.", Double(wanted.count { $0 }))
        add("right.", Double(zip(found, wanted).count { $0 && $1 }))
    }

    /// Counts the tokens that are learnt, and the spans that they form.
    private mutating func count(_ found: [Int], _ wanted: [Int], _ labels: [String]) {
        let known = wanted.indices.filter { wanted[$0] >= 0 }
        add("accuracy", Double(known.count { found[$0] == wanted[$0] }))
        let foundSpans = TagScheme.spans(of: known.map { labels[found[$0]] })
        let wantedSpans = TagScheme.spans(of: known.map { labels[wanted[$0]] })
        add("found.", Double(foundSpans.count))
        add("wanted.", Double(wantedSpans.count))
        add("right.", Double(foundSpans.count { span in wantedSpans.contains { $0 == span } }))
    }

    private mutating func add(_ name: String, _ number: Double = 1) { sums[name, default: 0] += number }

    /// The figures that sums over all examples come to.
    static func figures(
        _ total: TaskMeasurement, targets: Double, _ configuration: HeadConfiguration
    ) -> [String: Double] {
        func f1(_ name: String) -> Double? {
            let (found, wanted) = (total.others["found." + name] ?? 0, total.others["wanted." + name] ?? 0)
            return found + wanted == 0 ? nil : 2 * (total.others["right." + name] ?? 0) / (found + wanted)
        }
        let accuracy = (total.others["accuracy"] ?? 0) / targets
        switch (configuration.problem, configuration.place) {
        case (.regression, _): return ["rmse": (total.loss / targets).squareRoot()]
        case (.singleLabel, .sequence):
            // Over the labels that occur, as in the data or in the answers
            let scores = configuration.labels.indices.compactMap { f1(String($0)) }
            return ["accuracy": accuracy, "f1": scores.reduce(0, +) / Double(max(1, scores.count))]
        default: return ["accuracy": accuracy, "f1": f1("") ?? 1]
        }
    }
}
