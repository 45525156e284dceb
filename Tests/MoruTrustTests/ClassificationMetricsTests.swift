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
    }
}
