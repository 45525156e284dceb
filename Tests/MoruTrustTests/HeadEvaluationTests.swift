import Foundation
import MoruBase
import MoruModels
import MoruTestKit
import Testing

@testable import MoruTrust

/// Evaluations of models with a head.
@Suite struct HeadEvaluationTests {
    private func withHead(
        _ head: HeadConfiguration, _ lines: [String], _ body: (_ model: String, _ data: String) async throws -> Void
    ) async throws {
        let folder = TestNeeds.temporaryPath("head-eval")
        defer { FileSystem.remove(folder) }
        try TestModels.writeTinyDirectory(folder + "/base")
        try HeadedModel.start(folder + "/base", head: head, seed: 1).save(to: folder + "/model")
        try FileSystem.write(lines.joined(separator: "\n").utf8, to: folder + "/data.jsonl")
        try await body(folder + "/model", folder + "/data.jsonl")
    }

    private func run(_ model: String, _ data: String, gates: [String] = []) async throws -> EvaluationComparison {
        var recipe = EvaluationRecipe(data: data, models: [.init(model: model)])
        recipe.gates = try gates.map { try Gate($0) }
        return try await EvaluationRun(recipe) { try PretrainedModel.load($0) }.run()
    }

    @Test("errors and correlation of numbers, by hand")
    func numbers() throws {
        let pairs = [(1.0, 1.5), (2, 2), (3, 2), (4, 5)]
        let report = HeadReport(
            pairs.map { .init(text: "t", reference: "\($0)", answer: "\($1)", confidence: nil) }, isNumber: true,
            seconds: 1)
        let expected = [("rmse", 0.75), ("mae", 0.625), ("pearson", 5.25 / (5 * 7.6875).squareRoot())]
        for (name, value) in expected {
            let figure = try #require(report.figure(name))
            #expect(abs(try #require(figure.value) - value) < 1e-12 && figure.interval != nil, "\(name)")
        }
        #expect(report.labels.isEmpty && report.calibration == nil && report.cases[3].badness == 1)
        let constant = HeadReport(
            [1.0, 2].map { .init(text: "t", reference: "\($0)", answer: "3.0", confidence: nil) }, isNumber: true,
            seconds: 1)
        #expect(constant.figure("pearson")?.value == nil && constant.figure("mae")?.value == 1.5)
    }

    @Test("a directory with a head is recognised, and its labels are what classify says")
    func labels() async throws {
        let texts = ["one", "two words", "three of them", "four", "five five"]
        let lines = texts.enumerated().map { index, text in
            #"{"text": "\#(text)", "label": \#(index == 0 ? "1" : index % 2 == 0 ? "\"good\"" : "\"bad\"")}"#
        }
        try await withHead(HeadConfiguration(.sequence, labels: ["good", "bad"]), lines) { model, data in
            let comparison = try await run(model, data, gates: ["accuracy >= 0", "calibration_error <= 1"])
            let report = try #require(comparison.columns[0].report as? HeadReport)
            let found = try HeadedModel.load(model).classify(texts)
            #expect(report.outcomes.map(\.answer) == found.map { $0.labels[0] })
            #expect(report.outcomes.map(\.confidence) == found.map { Double($0.scores[0].score) })
            #expect(report.outcomes.map(\.reference) == ["bad", "bad", "good", "bad", "good"])
            let right = zip(report.outcomes.map(\.reference), found).count { $0 == $1.labels[0] }
            #expect(report.figure("label.accuracy")?.value == Double(right) / 5 && comparison.passes)
            let saved = try JSON.parse(report.json(includingOutcomes: true).text(), source: "r")
            #expect(try SavedReport.read(saved, source: "r").figures == report.figures)
        }
    }

    @Test("a head of one number")
    func regression() async throws {
        let lines = [#"{"text": "a", "value": 1.5}"#, #"{"text": "b c", "value": "2"}"#]
        try await withHead(.regression(), lines) { model, data in
            let report = try #require(try await run(model, data).columns[0].report as? HeadReport)
            let found = try HeadedModel.load(model).classify(["a", "b c"]).map { Double($0.scores[0].score) }
            let error = (abs(found[0] - 1.5) + abs(found[1] - 2)) / 2
            #expect(abs(try #require(report.figure("mae")?.value) - error) < 1e-6)
            let saved = try JSON.parse(report.json(includingOutcomes: true).text(), source: "r")
            #expect(try SavedReport.read(saved, source: "r").figures == report.figures)
        }
    }

    @Test("a head of several labels")
    func severalLabels() async throws {
        let lines = [
            #"{"text": "one", "labels": ["joy", "2"]}"#, #"{"text": "two words", "labels": []}"#,
            #"{"text": "three of them", "labels": ["anger"]}"#,
        ]
        let head = HeadConfiguration(.sequence, labels: ["anger", "joy", "fear"], problem: .multiLabel)
        try await withHead(head, lines) { model, data in
            let comparison = try await run(model, data, gates: ["micro_f1 >= 0", "joy.recall <= 1"])
            let report = try #require(comparison.columns[0].report as? SetReport)
            let found = try HeadedModel.load(model).classify(["one", "two words", "three of them"])
            #expect(report.outcomes.map { Set($0.answer.map(\.label)) } == found.map { Set($0.labels) })
            #expect(report.outcomes.map { $0.reference.map(\.label) } == [["joy", "fear"], [], ["anger"]])
            let right = zip(report.outcomes, found).reduce(0) {
                $0 + Set($1.0.reference.map(\.label)).intersection($1.1.labels).count
            }
            let given = found.reduce(3) { $0 + $1.labels.count }
            #expect(report.figure("label.micro_f1")?.value == Double(2 * right) / Double(given))
            let saved = try JSON.parse(report.json(includingOutcomes: true).text(), source: "r")
            #expect(try SavedReport.read(saved, source: "r").figures == report.figures)
            #expect(EvaluationPage(comparison, EvaluationRecipe(data: data, models: [])).html.contains("anger F1"))
        }
    }

    @Test("a head that finds spans")
    func spans() async throws {
        let lines = [
            #"{"text": "Ada met Bo", "entities": [{"start": 0, "end": 3, "label": "PER"}]}"#,
            #"{"tokens": ["Bo", "was", "in", "New", "York"], "tags": ["B-PER", "O", "O", "B-LOC", "I-LOC"]}"#,
        ]
        let head = HeadConfiguration(.token, labels: TagScheme.tags(for: ["PER", "LOC"]))
        try await withHead(head, lines) { model, data in
            let comparison = try await run(model, data, gates: ["span.micro_f1 <= 1", "LOC.f1 <= 1"])
            let report = try #require(comparison.columns[0].report as? SetReport)
            let found = try HeadedModel.load(model).extract(["Ada met Bo", "Bo was in New York"])
            #expect(report.outcomes.map { $0.answer.map(\.label) } == found.map { $0.map(\.label) })
            #expect(report.outcomes[1].reference == [.init("PER", 0..<2), .init("LOC", 10..<18)])
            #expect(report.cases[1].reference == "PER: Bo; LOC: New York")
        }
        for (line, message) in [
            (#"{"text": "Ada", "entities": [{"start": 0, "end": 3, "label": "ORG"}]}"#, "no label ORG"),
            (#"{"text": "Ada", "entities": [{"start": 0, "end": 4, "label": "PER"}]}"#, "3 characters"),
            (#"{"text": "Ada", "label": "PER"}"#, "gives spans, the data give labels"),
        ] {
            try await withHead(head, [line]) { model, data in
                let error = await #expect(throws: MoruError.self) { _ = try await run(model, data) }
                #expect(error?.message.contains(message) == true, "\(error as Any)")
            }
        }
    }

    @Test(
        "says what does not fit",
        arguments: [
            (#"{"text": "a", "label": "other"}"#, "no label other"), (#"{"text": "a", "value": 1}"#, "numbers"),
            (#"{"text": "a"}"#, "neither"), (#"{"label": "good"}"#, "no \"text\""),
            (#"{"text": "a", "value": "x"}"#, "value"),
        ])
    func refusals(line: String, message: String) async throws {
        try await withHead(HeadConfiguration(.sequence, labels: ["good", "bad"]), [line]) { model, data in
            let error = await #expect(throws: MoruError.self) { _ = try await run(model, data) }
            #expect(error?.code == .evaluationData && error?.message.contains(message) == true, "\(error as Any)")
        }
    }
}
