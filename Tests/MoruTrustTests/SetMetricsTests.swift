import MoruBase
import MoruModels
import MoruTestKit
import Testing

@testable import MoruTrust

/// Sets of labels against scikit-learn, and spans against seqeval (`scripts/goldens/sets.py`).
@Suite struct SetMetricsTests {
    private func expect(_ metrics: SetMetrics, _ golden: JSON, _ what: String) throws {
        func isClose(_ found: Double?, _ expected: Double) -> Bool { abs((found ?? 0) - expected) < 1e-12 }
        let averages = try #require(golden["averages"]?.object)
        for (key, name, place) in [
            ("micro", "micro_precision", 0), ("micro", "micro_recall", 1), ("micro", "micro_f1", 2),
            ("macro", "macro_f1", 2), ("weighted", "weighted_f1", 2),
        ] {
            let expected = try #require(averages[key]?[place]?.double)
            let figure = try #require(metrics.figure(name))
            #expect(isClose(figure.value, expected), "\(what), \(name): \(figure), expected \(expected)")
            #expect(figure.interval != nil, "\(what), \(name)")
        }
        let byLabel = try #require(golden["by_label"]?.object)
        #expect(metrics.byLabel.map(\.value).sorted() == byLabel.keys.sorted())
        for label in metrics.byLabel {
            let expected = try #require(byLabel[label.value]?.array).map { $0.double ?? .nan }
            #expect(
                isClose(label.precision, expected[0]) && isClose(label.recall, expected[1])
                    && isClose(label.f1, expected[2]) && label.support == Int(expected[3]), "\(what), \(label)")
        }
    }

    @Test(.tags(.golden), arguments: 0..<3) func labelsAsScikitLearnCounts(index: Int) throws {
        let golden = try #require(Goldens.json("sets.json")["labels"]?[index])
        func sets(_ key: String) -> [[SetReport.Item]] {
            (golden[key]?.array ?? []).map { ($0.array ?? []).map { SetReport.Item($0.string ?? "") } }
        }
        let outcomes = zip(sets("truth"), sets("found")).map {
            SetReport.Outcome(text: "t", reference: $0, answer: $1)
        }
        let labels = try #require(golden["labels"]?.array).compactMap(\.string)
        let report = SetReport(outcomes, labels: labels, seconds: 1)
        try expect(report.sets, golden, "case \(index)")
        #expect(report.figure("label.subset_accuracy")?.value == golden["subset_accuracy"]?.double)
    }

    @Test(.tags(.golden), arguments: 0..<3) func spansAsSeqevalCounts(index: Int) throws {
        let golden = try #require(Goldens.json("sets.json")["spans"]?[index])
        func sets(_ key: String) -> [[SetReport.Item]] {
            (golden[key]?.array ?? []).map { tags in
                TagScheme.spans(of: (tags.array ?? []).compactMap(\.string)).map { .init($0.label, $0.tokens) }
            }
        }
        let outcomes = zip(sets("truth"), sets("found")).map {
            SetReport.Outcome(text: String(repeating: "t", count: 20), reference: $0, answer: $1)
        }
        let report = SetReport(outcomes, labels: nil, seconds: 1)
        try expect(report.sets, golden, "case \(index)")
        let saved = try JSON.parse(report.json(includingOutcomes: true).text(), source: "r")
        #expect(try SavedReport.read(saved, source: "r").figures == report.figures)
    }

    @Test func nothingToFind() throws {
        let report = SetReport([.init(text: "t", reference: [], answer: [])], labels: nil, seconds: 1)
        #expect(report.figure("span.micro_f1")?.value == nil && report.figure("span.subset_accuracy")?.value == 1)
        #expect(report.cases[0].isRight == true && report.cases[0].reference == "(nothing)")
    }
}
