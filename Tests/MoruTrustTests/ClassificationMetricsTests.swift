import MoruBase
import MoruTestKit
import MoruTrust
import Testing

@Suite struct ClassificationMetricsTests {
    @Test func figuresOfAWorkedExample() throws {
        // true a: 3 right, 1 as b; true b: 2 right, 1 as a, 1 none; true c: 1 as a
        let pairs: [(truth: String, prediction: String?)] = [
            ("a", "a"), ("a", "a"), ("a", "a"), ("a", "b"), ("b", "b"), ("b", "b"), ("b", "a"), ("b", nil), ("c", "a"),
        ]
        let metrics = ClassificationMetrics(name: "label", pairs)
        #expect(metrics.values == ["a", "b", "c"])
        #expect(metrics.confusion == [[3, 1, 0, 0], [1, 2, 0, 1], [1, 0, 0, 0]])
        #expect(metrics.count == 9 && metrics.unreadable == 1)
        #expect(abs(metrics.accuracy - 5.0 / 9) < 1e-12)
        let a = try #require(metrics.byValue.first)
        #expect(abs(a.precision - 0.6) < 1e-12 && abs(a.recall - 0.75) < 1e-12 && abs(a.f1 - 2.0 / 3) < 1e-12)
        let c = metrics.byValue[2]
        #expect(c.precision == 0 && c.recall == 0 && c.f1 == 0 && c.support == 1)
        // b: precision 2/3, recall 1/2, F1 4/7
        #expect(abs(metrics.macroF1 - (2.0 / 3 + 4.0 / 7) / 3) < 1e-12)
    }

    @Test func nothingToCount() {
        let metrics = ClassificationMetrics(name: "label", [])
        #expect(metrics.accuracy == 0 && metrics.macroF1 == 0 && metrics.byValue.isEmpty)
        #expect(metrics.json["accuracy"] == 0.0)
    }

    @Test("a value that no reference has counts as none, and not as some other value")
    func unknownPrediction() {
        let metrics = ClassificationMetrics(
            name: "label", [(truth: "a", prediction: "z"), (truth: "b", prediction: "b")])
        #expect(metrics.confusion == [[0, 0, 1], [0, 1, 0]] && metrics.unreadable == 1 && metrics.accuracy == 0.5)
    }

    @Test("figures agree with numpy's, from scikit-learn's definitions", .tags(.golden), arguments: 0..<6)
    func goldens(index: Int) throws {
        let golden = try #require(try Goldens.json("metrics.json")["cases"]?[index])
        let truth = (golden["truth"]?.array ?? []).compactMap(\.string)
        let predictions = (golden["predicted"]?.array ?? []).map(\.string)
        try #require(truth.count == predictions.count && !truth.isEmpty)
        let metrics = ClassificationMetrics(
            name: "label", zip(truth, predictions).map { (truth: $0, prediction: $1) })
        #expect(metrics.values == golden["values"]?.array?.compactMap(\.string))
        #expect(metrics.confusion == golden["confusion"]?.array?.map(\.ints))
        #expect(isClose(metrics.accuracy, golden["accuracy"]) && isClose(metrics.macroF1, golden["macro_f1"]))
        let expected = golden["by_value"]?.array ?? []
        #expect(metrics.byValue.count == expected.count)
        for (value, wanted) in zip(metrics.byValue, expected) {
            #expect(isClose(value.precision, wanted["precision"]), "\(value.value)")
            #expect(isClose(value.recall, wanted["recall"]), "\(value.value)")
            #expect(isClose(value.f1, wanted["f1"]) && value.support == wanted["support"]?.int, "\(value.value)")
        }
    }

    private func isClose(_ found: Double, _ expected: JSON?) -> Bool {
        expected?.double.map { abs(found - $0) < 1e-12 } ?? false
    }
}
