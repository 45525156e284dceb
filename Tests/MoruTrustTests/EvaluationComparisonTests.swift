import MoruBase
import MoruTestKit
import Testing

@testable import MoruTrust

@Suite struct EvaluationComparisonTests {
    private func report(_ answers: [String], _ references: [String]) async throws -> EvaluationReport {
        try await Evaluation(
            try TrustFixtures.scripted(answers, contextLength: 2048), try TrustFixtures.examples(references)
        ).run()
    }

    private func compare(
        _ before: JSON, _ after: EvaluationReport, gates: [String] = []
    ) throws -> EvaluationComparison {
        try EvaluationComparison(
            [
                EvaluationComparison.Column("base", saved: before, source: "base.json"),
                EvaluationComparison.Column("tuned", after),
            ], gates: gates.map { try Gate($0) })
    }

    private let references = ["mood: good", "mood: bad", "mood: good", "mood: bad"]

    @Test("a saved report is read whole, to the same figures")
    func savedReport() async throws {
        let report = try await report(["mood: bad", "mood: bad", "Hm.", "No idea."], references)
        let saved = try JSON.parse(report.json(includingOutcomes: true).text(pretty: true), source: "base.json")
        let read = try SavedReport.read(saved, source: "base.json")
        #expect(read.figures == report.figures && read.cases == report.cases)
        #expect(read.json(includingOutcomes: true) == saved)
    }

    @Test func savedReportsThatAreDamagedAreRefused() async throws {
        let report = try await report(["mood: bad", "mood: bad", "Hm.", "No idea."], references)
        let saved = report.json(includingOutcomes: true)
        let wrong: [(String, JSON)] = [
            ("confidence", 1e300), ("confidence", -2), ("scored_tokens", .int(.max)), ("scored_tokens", 1.5),
            ("negative_log_likelihood", -1e300), ("negative_log_likelihood", "a"),
        ]
        for (key, value) in wrong {
            var (object, outcomes) = (try #require(saved.object), try #require(saved["outcomes"]?.array))
            var outcome = try #require(outcomes[1].object)
            outcome[key] = value
            outcomes[1] = .object(outcome)
            object["outcomes"] = .array(outcomes)
            let error = #expect(throws: MoruError.self) { try SavedReport.read(.object(object), source: "base.json") }
            #expect(
                error?.message.hasPrefix("base.json, outcome 2: \(key) is ") == true, "\(String(describing: error))")
        }
    }

    @Test func rowsOfBothReports() async throws {
        let before = try await report(["mood: bad", "mood: bad", "Hm.", "No idea."], references)
        let after = try await report(["mood: good", "mood: bad", "mood: good", "mood: good"], references)
        let comparison = try compare(before.json(includingOutcomes: true), after)
        let rows = comparison.rows.filter { !$0.kind.isDetail }
        #expect(
            rows.map(\.kind.name) == [
                "mood.accuracy", "mood.macro_f1", "mood.bad.f1", "mood.good.f1", "exact_match", "calibration_error",
                "perplexity", "bits_per_byte", "seconds", "tokens_per_second",
            ])
        func row(_ name: String) -> [Double?] {
            rows.first { $0.kind.name == name }?.cells.map { $0.figure?.value } ?? []
        }
        #expect(row("mood.accuracy") == [0.25, 0.75] && row("exact_match") == [0.25, 0.75])
        // bad before: precision 1/2, recall 1/2; after: 1, 1/2
        #expect(row("mood.bad.f1") == [0.5, 2.0 / 3] && row("mood.good.f1") == [0, 0.8])
        #expect(row("perplexity") == [before.perplexity.value, after.perplexity.value])
        let accuracy = try #require(rows.first)
        #expect(accuracy.kind.label == "mood" && accuracy.cells[0].difference == nil)
        #expect(accuracy.cells[1].difference?.value == 0.5)
        #expect(comparison.examples.map { $0.cases[0].answer } == ["mood: bad", "mood: bad", "Hm.", "No idea."])
        let json = try JSON.parse(comparison.json().text(), source: "comparison")
        #expect(json == comparison.json() && json["models"]?[0]?["name"] == "base" && json["passed"] == true)
        #expect(json["figures"]?[0]?["name"] == "mood.accuracy" && json["figures"]?[0]?["unit"] == "share")
        #expect(json["figures"]?[0]?["models"]?[1]?["difference"]?["value"] == 0.5)
        #expect(json["figures"]?[0]?["models"]?[0]?["difference"] == nil)

        let examples = comparison.examples
        #expect(comparison.samples(0).isEmpty)
        #expect(comparison.samples(1) == [examples[3]])
        #expect(comparison.samples(2) == [examples[0], examples[3]])
        #expect(comparison.samples(9) == [examples[0], examples[2], examples[3]])
        // Both are wrong about the last; then come those that one got wrong
        #expect(comparison.worst(9).map(\.place).first == 3 && comparison.worst(9).count == 3)
        #expect(comparison.worst(1).map(\.place) == [3])
    }

    @Test("a difference is significant where its interval leaves out zero, and one of a model with itself is none")
    func significance() async throws {
        let many = (0..<30).map { $0 % 2 == 0 ? "mood: good" : "mood: bad" }
        let wrong = many.map { $0 == "mood: good" ? "mood: bad" : "mood: good" }
        let slightly = many.enumerated().map { $0 == 3 ? "mood: good" : $1 }
        let (before, after, near) = (
            try await report(wrong, many), try await report(many, many), try await report(slightly, many)
        )
        func accuracy(_ columns: [EvaluationReport]) throws -> Figure.Difference {
            let comparison = try EvaluationComparison(
                columns.enumerated().map { EvaluationComparison.Column("\($0)", $1) })
            return try #require(comparison.rows.first?.cells[1].difference)
        }
        #expect(try accuracy([before, after]).isBetter == true && accuracy([after, before]).isBetter == false)
        let small = try accuracy([after, near])
        #expect(small.value < 0 && !small.isSignificant && small.isBetter == nil)
        let same = try accuracy([after, after])
        #expect(same.value == 0 && same.interval?.lower == 0 && same.interval?.upper == 0 && !same.isSignificant)
    }

    @Test("the interval of a paired difference is that of the examples' differences")
    func pairedInterval() throws {
        // Differences of 1 on a quarter of 400 examples: mean 0.25, standard error sqrt(0.25 * 0.75 / 400)
        func figure(_ hits: [Double]) -> Figure {
            Figure.measure([Figure.Kind("x")], count: 400) { [$0.reduce(0) { $0 + hits[$1] } / 400] }[0]
        }
        let noise = (0..<400).map { Double($0 * 7919 % 101) / 10 }
        let difference = try #require(
            figure(noise.enumerated().map { $1 + ($0 % 4 == 0 ? 1 : 0) }).difference(from: figure(noise)))
        let interval = try #require(difference.interval)
        #expect(abs(difference.value - 0.25) < 1e-9)
        // Were they not paired, the noise would make it ten times as wide
        #expect(abs(interval.lower - 0.2076) < 0.01 && abs(interval.upper - 0.2924) < 0.01)
    }

    @Test func aFigureThatTheEarlierReportLacksIsNone() async throws {
        let after = try await report(references, references)
        guard var members = after.json(includingOutcomes: true).object else {
            Issue.record("a report is an object")
            return
        }
        members["labels"] = nil
        let comparison = try compare(.object(members), after)
        #expect(comparison.rows[0].cells[0].figure == nil && comparison.rows[0].cells[1].figure?.value == 1)
        #expect(comparison.rows[0].cells[1].difference == nil)
        #expect(comparison.json()["figures"]?[0]?["models"]?[0]?["value"] == nil)
    }

    @Test func aReportOnOtherExamplesIsRefused() async throws {
        let after = try await report(references, references)
        let whole = after.json(includingOutcomes: true)
        let relabelled = try await report(references, ["mood: good", "mood: bad", "mood: bad", "mood: bad"])
        let shorter = try await report(references, Array(references.prefix(2)))
        for (before, words) in [
            (after.json(), "not a report with answers"), ([1, 2], "not a report with answers"),
            (shorter.json(includingOutcomes: true), "is about 2 examples, not 4"),
            (relabelled.json(includingOutcomes: true), "number 3 differs"),
        ] as [(JSON, String)] {
            let error = try #require(throws: MoruError.self) { _ = try compare(before, after) }
            #expect(error.code == .evaluationData && error.message.contains(words), "\(error)")
            #expect(error.message.hasPrefix("base") && error.remedy?.contains("moru eval --save") == true)
        }
        #expect(try compare(whole, after).examples.count == 4)
    }

    @Test("gates are about the models measured now, by value, interval and change")
    func gates() async throws {
        let before = try await report(["mood: bad", "mood: bad", "Hm.", "No idea."], references)
        let after = try await report(["mood: good", "mood: bad", "mood: good", "mood: good"], references)
        let texts = [
            "accuracy >= 0.7", "mood.accuracy.lower>=70%", "good.f1 > 0.8", "exact_match < 0.76",
            "accuracy.change >= 0.5", "accuracy.change.lower > 0.6", "perplexity.upper <= 1000",
        ]
        let comparison = try compare(before.json(includingOutcomes: true), after, gates: texts)
        #expect(comparison.gates.map(\.passes) == [true, false, false, true, true, false, true])
        #expect(comparison.gates.allSatisfy { $0.model == "tuned" } && !comparison.passes)
        #expect(comparison.gates[0].value == 0.75 && comparison.gates[0].kind.name == "mood.accuracy")
        #expect(comparison.gates[4].value == 0.5)
        #expect(comparison.json()["gates"]?[1]?["passed"] == false && comparison.json()["passed"] == false)
    }
}

@Suite struct GateTests {
    @Test(
        "a gate that says nothing is refused",
        arguments: ["accuracy", "accuracy = 0.8", "accuracy >= much", ">= 0.8", ".lower >= 0.8", "accuracy >= ", ""])
    func malformed(text: String) throws {
        let error = try #require(throws: MoruError.self) { try Gate(text) }
        #expect(error.code == .evaluationGate && error.remedy?.contains("accuracy >= 0.8") == true)
    }

    @Test func aFigureIsFoundByTheEndOfItsName() throws {
        let kinds =
            ClassificationMetrics.kinds("mood", ["bad", "good"]) + ClassificationMetrics.kinds("topic", ["good"])
            + EvaluationReport.fixedKinds
        func name(_ figure: String) throws -> String { try Gate("\(figure) > 0").kind(among: kinds).name }
        #expect(try name("topic.accuracy") == "topic.accuracy" && name("bad.f1") == "mood.bad.f1")
        #expect(try name("perplexity") == "perplexity" && name("exact_match.upper") == "exact_match")
        for (figure, words) in [
            ("accuracy", "mood.accuracy, topic.accuracy"), ("perplexty", "did you mean perplexity"),
            ("acuracy", "did you mean accuracy"),
            ("good.f1", "mood.good.f1, topic.good.f1"), ("zzzzzzzzzzzz", "there are mood.accuracy"),
        ] {
            let error = try #require(throws: MoruError.self) { try name(figure) }
            #expect(error.code == .evaluationGate && error.remedy?.contains(words) == true, "\(error)")
        }
    }

    @Test func whatIsUndefinedDoesNotPass() throws {
        let figures = [Figure(Figure.Kind("wer", unit: .number), value: nil)]
        let outcome = try #require(try Gate("wer <= 1").outcome(of: "m", figures, first: nil))
        #expect(!outcome.passes && outcome.value == nil)
        // A change needs a model to change from
        #expect(try Gate("wer.change <= 1").outcome(of: "m", figures, first: nil) == nil)
    }
}
