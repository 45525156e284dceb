import MoruBase
import MoruTestKit
import Testing

@testable import MoruTrust

@Suite struct TextMetricTests {
    @Test("figures agree with sacrebleu, rouge-score and jiwer", .tags(.golden), arguments: TextMetric.allCases)
    func goldens(metric: TextMetric) throws {
        let corpora = try #require(try Goldens.json("text_metrics.json")["corpora"]?.array)
        #expect(corpora.count == 7)
        for corpus in corpora {
            let pairs = (corpus["pairs"]?.array ?? []).map { pair in
                (text: pair[0]?.string ?? "", reference: pair[1]?.string ?? "")
            }
            let expected = try #require(corpus["figures"]?[metric.rawValue]?.double)
            let value = try #require(TextScore(metric, pairs).value)
            #expect(
                abs(value - expected) < 1e-9 * max(1, abs(expected)),
                "\(corpus["name"]?.string ?? ""): \(metric) is \(value), not \(expected)")
        }
    }

    @Test("an error rate without a word to get wrong is undefined, and nothing has no figure")
    func undefined() {
        #expect(TextScore(.wer, [("", "")]).value == nil)
        #expect(TextScore(.wer, [("too much", "")]).value == nil)
        for metric in TextMetric.allCases { #expect(TextScore(metric, []).value == nil) }
    }

    @Test("a text scored against itself is perfect, and a worse one is worse", arguments: TextMetric.allCases)
    func order(metric: TextMetric) throws {
        let reference = "The quick brown fox jumps over the lazy dog."
        let same = try #require(TextScore(metric, [(reference, reference)]).value)
        let other = try #require(TextScore(metric, [("The quick fox jumps over a lazy dog, now.", reference)]).value)
        #expect(metric.prefersMore ? same > other : same < other)
        let best = metric.prefersMore ? (["bleu", "chrf", "chrf++"].contains(metric.rawValue) ? 100.0 : 1) : 0
        #expect(abs(same - best) < 1e-9)
    }
}

@Suite struct ConfidenceIntervalTests {
    @Test("the interval of a share is that of the binomial distribution")
    func share() throws {
        let hits = (0..<400).map { $0 % 4 == 0 ? 1.0 : 0 }
        let interval = try #require(
            ConfidenceInterval(bootstrapping: 400) { $0.reduce(0) { $0 + hits[$1] } / 400 })
        // 0.25 ± 1.96 sqrt(0.25 * 0.75 / 400)
        #expect(abs(interval.lower - 0.2076) < 0.01 && abs(interval.upper - 0.2924) < 0.01)
    }

    @Test("the same examples give the same interval, and one example gives none")
    func determinism() {
        let values = (0..<50).map { Double($0 * $0 % 17) }
        func interval() -> ConfidenceInterval? {
            ConfidenceInterval(bootstrapping: 50) { $0.reduce(0) { $0 + values[$1] } / 50 }
        }
        #expect(interval() == interval() && interval() != nil)
        #expect(ConfidenceInterval(bootstrapping: 1) { _ in 1 } == nil)
        #expect(ConfidenceInterval(bootstrapping: 5) { _ in nil } == nil)
    }
}

@Suite struct CalibrationTests {
    @Test func aWorkedExample() throws {
        // Bin 0.9: two answers at 0.95, one right; bin 0.5: two at 0.55 and 0.51, both right
        let calibration = try #require(
            Calibration([(0.95, true), (0.95, false), (0.55, true), (0.51, true)]))
        #expect(calibration.bins.map(\.count) == [2, 2])
        #expect(abs(calibration.expectedError - (0.5 * abs(0.53 - 1) + 0.5 * abs(0.95 - 0.5))) < 1e-12)
        let brier = (0.05 * 0.05 + 0.95 * 0.95 + 0.45 * 0.45 + 0.49 * 0.49) / 4
        #expect(abs(calibration.brierScore - brier) < 1e-12)
    }

    @Test func certainAndRightIsPerfect() throws {
        let calibration = try #require(Calibration([(1, true), (1, true)]))
        #expect(calibration.expectedError == 0 && calibration.brierScore == 0)
        #expect(Calibration([]) == nil)
    }
}
