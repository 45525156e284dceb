import MoruBase
import MoruTestKit
import MoruTrust
import Testing

@Suite struct EvaluationComparisonTests {
    private func report(_ answers: [String], _ references: [String]) async throws -> EvaluationReport {
        try await Evaluation(
            try TrustFixtures.scripted(answers), try TrustFixtures.examples(references)
        ).run()
    }

    private let references = ["mood: good", "mood: bad", "mood: good", "mood: bad"]

    @Test func rowsOfBothReports() async throws {
        let before = try await report(["mood: bad", "mood: bad", "Hm.", "No idea."], references)
        let after = try await report(["mood: good", "mood: bad", "mood: good", "mood: good"], references)
        let saved = try JSON.parse(before.json(includingOutcomes: true).text(pretty: true), source: "base.json")
        let comparison = try EvaluationComparison(before: saved, after: after, source: "base.json")
        #expect(
            comparison.rows.map(\.name) == [
                "mood accuracy", "  bad F1", "  good F1", "exact match", "perplexity of the right answer", "seconds",
                "tokens/s",
            ])
        func row(_ index: Int) -> [Double?] { [comparison.rows[index].before, comparison.rows[index].after] }
        #expect(row(0) == [0.25, 0.75] && row(3) == [0.25, 0.75])
        // bad before: precision 1/2, recall 1/2; after: 1, 1/2
        #expect(row(1) == [0.5, 2.0 / 3] && row(2) == [0, 0.8])
        #expect(row(4) == [before.perplexity.value, after.perplexity.value])
        #expect(row(5) == [before.seconds, after.seconds])
        #expect(comparison.rows.map(\.unit) == [.share, .share, .share, .share, .number, .seconds, .tokensPerSecond])
        #expect(comparison.rows.map(\.label) == ["mood", "mood", "mood", nil, nil, nil, nil])
        #expect(comparison.pairs.map(\.before) == ["mood: bad", "mood: bad", "Hm.", "No idea."])
        #expect(comparison.pairs[0].after == "mood: good" && comparison.pairs[0].reference == "mood: good")
        let json = try JSON.parse(comparison.json.text(), source: "comparison")
        #expect(json == comparison.json && json[1]?["name"] == "bad F1" && json[1]?["label"] == "mood")
        #expect(json[0]?["before"] == 0.25 && json[0]?["unit"] == "share" && json[3]?["label"] == nil)

        #expect(comparison.samples(0).isEmpty)
        #expect(comparison.samples(1) == [comparison.pairs[3]])
        #expect(comparison.samples(2) == [comparison.pairs[0], comparison.pairs[3]])
        #expect(comparison.samples(9) == [comparison.pairs[0], comparison.pairs[2], comparison.pairs[3]])
    }

    @Test func samplesAreSpreadOverTheData() async throws {
        let right = Array(repeating: "mood: good", count: 9)
        let before = try await report(Array(repeating: "?", count: 9), right)
        let after = try await report(right, right)
        let comparison = try EvaluationComparison(
            before: before.json(includingOutcomes: true), after: after, source: "base.json")
        #expect(comparison.samples(3) == [0, 3, 6].map { comparison.pairs[$0] })
        #expect(comparison.samples(4) == [0, 2, 4, 6].map { comparison.pairs[$0] })
        #expect(comparison.samples(20) == comparison.pairs)
        let same = try EvaluationComparison(
            before: after.json(includingOutcomes: true), after: after, source: "base.json")
        #expect(same.samples(4).isEmpty)
    }

    @Test func aFigureThatTheEarlierReportLacksIsNone() async throws {
        let after = try await report(references, references)
        guard var members = after.json(includingOutcomes: true).object else {
            Issue.record("a report is an object")
            return
        }
        members["labels"] = nil
        members["perplexity"] = .null
        let comparison = try EvaluationComparison(before: .object(members), after: after, source: "old.json")
        #expect(comparison.rows[0].before == nil && comparison.rows[0].after == 1)
        #expect(comparison.rows.first { $0.unit == .number }?.before == nil)
        #expect(comparison.json[0]?["before"] == nil)
    }

    @Test func aReportOnOtherExamplesIsRefused() async throws {
        let after = try await report(references, references)
        let whole = after.json(includingOutcomes: true)
        let relabelled = try await report(references, ["mood: good", "mood: bad", "mood: bad", "mood: bad"])
        let shorter = try await report(references, Array(references.prefix(2)))
        for (before, words) in [
            (after.json(), "no report with answers"), ([1, 2], "no report with answers"),
            (shorter.json(includingOutcomes: true), "is about 2 examples, not 4"),
            (relabelled.json(includingOutcomes: true), "number 3 differs"),
        ] as [(JSON, String)] {
            let error = try #require(throws: MoruError.self) {
                _ = try EvaluationComparison(before: before, after: after, source: "base.json")
            }
            #expect(error.code == .evaluationData && error.message.contains(words), "\(error)")
            #expect(error.message.hasPrefix("base.json") && error.remedy?.contains("moru eval --save") == true)
        }
        #expect(try EvaluationComparison(before: whole, after: after, source: "base.json").pairs.count == 4)
    }
}
