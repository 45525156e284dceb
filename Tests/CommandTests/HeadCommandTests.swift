import Foundation
import MoruBase
import MoruTestKit
import Testing

/// `moru tune` with a head, then `moru classify` and `moru extract` with what it learnt.
@Suite(.serialized) struct HeadCommandTests {
    private let home = TestNeeds.temporaryPath("heads")
    private var moru: BuiltProgram {
        BuiltProgram("moru", environment: ["MORU_HOME": home, "MORU_CONFIG": "", "HOME": home])
    }

    private func tuned(
        _ objective: String, _ lines: [String], _ body: (_ base: String, _ adapter: String) throws -> Void
    ) throws {
        let model = home + "/tiny"
        try TestModels.writeTinyDirectory(model)
        defer { FileSystem.remove(home) }
        try FileSystem.write(lines.joined(separator: "\n").utf8, to: home + "/train.jsonl")
        let recipe = """
            model: ./tiny
            output: run
            objective: \(objective)
            data: {train: train.jsonl, validation: train.jsonl}
            training: {epochs: 25, batch_size: 2, learning_rate: 1e-2, evaluate_every: 40, save_every: 40}
            """
        try FileSystem.write(recipe.utf8, to: home + "/recipe.yaml")
        let estimate = try moru.run(["recipe", "estimate", home + "/recipe.yaml", "--json"])
        #expect(estimate.code == 0, "\(estimate.errors)")
        let outcome = try moru.run(["tune", home + "/recipe.yaml"])
        #expect(outcome.code == 0 && outcome.errors.contains("accuracy"), "\(outcome.errors)")
        #expect(FileSystem.exists(home + "/run/report.html"))
        try body(model, outcome.output.trimmingCharacters(in: .whitespacesAndNewlines))
    }

    @Test func classifyTellsWhatTuneLearnt() throws {
        let lines = ["good tea", "bad tea", "good pie", "bad pie"].map {
            #"{"text": "\#($0)", "label": "\#($0.hasPrefix("good") ? "good" : "bad")"}"#
        }
        try tuned("classification", lines) { base, adapter in
            let one = try moru.run(["classify", base, "--adapter", adapter, "good pie"])
            #expect(one.code == 0 && one.output.contains("PROBABILITY"), "\(one.errors)")
            let piped = try moru.run(["classify", base, "--adapter", adapter, "--json"], input: "good tea\nbad pie\n")
            let answers = try piped.output.split(separator: "\n").map { try JSON.parse(String($0), source: "output") }
            #expect(answers.map { $0["prediction"]?["labels"]?[0]?.string } == ["good", "bad"], "\(piped.output)")
            #expect(answers[0]["text"] == "good tea" && answers[0]["prediction"]?["scores"]?.object?.count == 2)
            let bulk = try moru.run([
                "classify", base, "--adapter", adapter, "--data", home + "/train.jsonl", "-o", home + "/out.jsonl",
            ])
            #expect(bulk.code == 0 && bulk.output.isEmpty && bulk.errors.contains("4 texts"))
            let written = try FileSystem.readText(home + "/out.jsonl").split(separator: "\n")
            let first = try JSON.parse(String(written[0]), source: "out")
            #expect(written.count == 4 && first["label"] == "good")
            #expect(first["prediction"] == answers[0]["prediction"], "alone and in bulk they are the same")
            let long = try moru.run(["classify", base, "--adapter", adapter, String(repeating: "x", count: 400)])
            #expect(long.code == 5 && long.errors.contains("text 1: ") && long.errors.contains("--truncate"))
            #expect(try moru.run(["classify", base, "x"]).errors.contains("has no head"))
            #expect(try moru.run(["extract", base, "--adapter", adapter, "x"]).errors.contains("moru classify"))
            let figures = try moru.run([
                "eval", base, home + "/train.jsonl", "--adapter", adapter, "--gate", "accuracy >= 1", "--report",
                home + "/eval.html", "--json",
            ])
            #expect(figures.code == 0, "\(figures.errors)")
            let report = try JSON.parse(figures.output, source: "output")
            #expect(report["task"] == "head" && report["labels"]?["label"]?["accuracy"]?.double == 1)
            #expect(try FileSystem.readText(home + "/eval.html").contains("calibration"))
            let shown = try moru.run(["eval", base, home + "/train.jsonl", "--adapter", adapter])
            #expect(shown.output.contains("true \\ predicted") && shown.output.contains("4 texts"), "\(shown.output)")
            let field = try moru.run([
                "classify", base, "--adapter", adapter, "--data", home + "/train.jsonl", "--field", "body",
            ])
            #expect(field.code == 2 && field.errors.contains("--field"))
        }
    }

    @Test func extractFindsWhatTuneLearnt() throws {
        let lines = [("pay 5 now", 4), ("pay 7 soon", 4), ("now pay 3", 8), ("8 is due", 0)].map {
            #"{"text": "\#($0.0)", "entities": [{"start": \#($0.1), "end": \#($0.1 + 1), "label": "AMOUNT"}]}"#
        }
        try tuned("extraction", lines) { base, adapter in
            let outcome = try moru.run(["extract", base, "--adapter", adapter, "--json", "pay 5 now", "8 is due"])
            let answers = try outcome.output.split(separator: "\n").map { try JSON.parse(String($0), source: "output") }
            let spans = answers.map { $0["prediction"]?[0] }
            #expect(spans.map { $0?["text"]?.string } == ["5", "8"], "\(outcome.output)\(outcome.errors)")
            #expect(spans[0]?["start"] == 4 && spans[0]?["end"] == 5 && spans[0]?["label"] == "AMOUNT")
            let table = try moru.run(["extract", base, "--adapter", adapter, "pay 5 now"])
            #expect(table.output.contains("AMOUNT") && table.output.contains("LABEL"))
        }
    }

    @Test func gatesOfARecipeHoldOrFail() throws {
        try TestModels.writeTinyDirectory(home + "/tiny")
        defer { FileSystem.remove(home) }
        let lines = ["good tea", "bad tea"].map { #"{"text": "\#($0)", "label": "\#($0.prefix(3))"}"# }
        try FileSystem.write(lines.joined(separator: "\n").utf8, to: home + "/train.jsonl")
        func tune(_ gate: String, _ options: String...) throws -> BuiltProgram.Outcome {
            let recipe = """
                model: ./tiny
                output: run
                objective: classification
                data: {train: train.jsonl}
                training: {steps: 2, batch_size: 2}
                evaluation: {data: train.jsonl, gates: ["\(gate)"]}
                """
            try FileSystem.write(recipe.utf8, to: home + "/recipe.yaml")
            return try moru.run(["tune", home + "/recipe.yaml", "--overwrite"] + options)
        }
        let passed = try tune("accuracy >= 0", "--json")
        #expect(passed.code == 0, "\(passed.errors)")
        let json = try JSON.parse(passed.output, source: "output")
        #expect(json["passed"] == true && json["gates"]?[0]?["model"] == "tuned", "\(passed.output)")
        #expect(try JSON.parse(file: home + "/run/evaluation.json")["passed"] == true)
        let failed = try tune("accuracy > 1")
        #expect(failed.code == 8 && failed.errors.contains("1 of 1 gates failed"), "\(failed.errors)")
        #expect(try FileSystem.readText(home + "/run/evaluation.html").contains("accuracy &gt; 1"))
        // Refused before the run, which stays as it was
        let misspelt = try tune("acuracy > 1")
        #expect(misspelt.code != 8 && misspelt.errors.contains("did you mean accuracy"), "\(misspelt.errors)")
        #expect(FileSystem.exists(home + "/run/evaluation.html"))
    }
}
