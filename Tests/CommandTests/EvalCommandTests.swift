import Foundation
import MoruBase
import MoruTestKit
import Testing

/// `moru eval` as a user meets it.
@Suite(.serialized) struct EvalCommandTests {
    private let home = TestNeeds.temporaryPath("eval")
    private var moru: BuiltProgram { BuiltProgram("moru", environment: ["MORU_HOME": home, "MORU_CONFIG": ""]) }

    private func withModels(_ body: (_ first: String, _ second: String, _ data: String) throws -> Void) throws {
        defer { FileSystem.remove(home) }
        try TestModels.writeTinyDirectory(home + "/first", seed: 1)
        try TestModels.writeTinyDirectory(home + "/second", seed: 2)
        let lines = (0..<8).map { #"{"prompt": "item \#($0):", "completion": "\#($0 % 2 == 0 ? "good" : "bad")"}"# }
        try FileSystem.write(lines.joined(separator: "\n").utf8, to: home + "/data.jsonl")
        try body(home + "/first", home + "/second", home + "/data.jsonl")
    }

    @Test func severalModelsStandInOneTable() throws {
        try withModels { first, second, data in
            let arguments = ["eval", "--model", first, "--model", second, data, "--max-tokens", "4"]
            let table = try moru.run(arguments)
            #expect(table.code == 0, "\(table.errors)")
            for words in ["first", "second", "change", "label accuracy", "bits per byte", " to "] {
                #expect(table.output.contains(words), "\(words): \(table.output)")
            }
            let json = try JSON.parse(try moru.run(arguments + ["--json"]).output, source: "eval")
            #expect(json["models"]?[0]?["name"] == "first" && json["models"]?[1]?["name"] == "second")
            let perplexity = json["figures"]?.array?.first { $0["name"] == "perplexity" }
            #expect(perplexity?["models"]?[1]?["difference"]?["interval"]?.array?.count == 2)
        }
    }

    @Test("a gate that fails has an exit code of its own, and the table says which it was")
    func gates() throws {
        try withModels { first, _, data in
            let arguments = ["eval", first, data, "--max-tokens", "4"]
            let passed = try moru.run(arguments + ["--gate", "perplexity > 1", "--gate", "exact_match <= 50%"])
            #expect(passed.code == 0 && passed.output.contains("passed"), "\(passed.errors)")
            let failed = try moru.run(arguments + ["--gate", "perplexity > 1", "--gate", "accuracy.lower >= 0.9"])
            #expect(failed.code == 8 && failed.errors.contains("1 of 2 gates failed"), "\(failed.errors)")
            let line = failed.output.split(separator: "\n").first { $0.contains("accuracy.lower >= 0.9") }
            #expect(line?.contains("FAILED") == true, "\(failed.output)")
            let json = try JSON.parse(
                try moru.run(arguments + ["--gate", "accuracy >= 0.9", "--json"]).output, source: "eval")
            #expect(json["passed"] == false && json["gates"]?[0]?["figure"] == "label.accuracy")
            for (gate, words) in [("acuracy > 0.5", "did you mean"), ("accuracy", "accuracy >= 0.8")] {
                let outcome = try moru.run(arguments + ["--gate", gate])
                #expect(outcome.code == 2 && outcome.errors.contains(words), "\(outcome.errors)")
            }
        }
    }

    @Test("a recipe says everything, writes its files, and its report is compared with")
    func recipe() throws {
        try withModels { first, _, _ in
            let recipe = """
                data: data.jsonl
                models:
                  - {name: one, model: \(first)}
                  - {name: two, model: ./second}
                max_tokens: 4
                metrics: [chrf]
                gates: [one.wrong >= 1]
                report: eval.html
                """
            try FileSystem.write(recipe.utf8, to: home + "/eval.yaml")
            let wrong = try moru.run(["eval", "--recipe", home + "/eval.yaml"])
            #expect(wrong.code == 2 && wrong.errors.contains("one.wrong >= 1"), "\(wrong.errors)")
            let overrides = ["--set", "gates=[chrf >= 0]", "--limit", "6"]
            let done = try moru.run(["eval", "--recipe", home + "/eval.yaml", "--json"] + overrides)
            #expect(done.code == 0, "\(done.errors)")
            let json = try JSON.parse(done.output, source: "eval")
            #expect(json["models"]?[1]?["examples"] == 6 && json["gates"]?.array?.count == 2)
            let page = try FileSystem.readText(home + "/eval.html")
            #expect(page.contains("gates passed") && page.contains("Worst errors"))
            let misspelt = try moru.run(["eval", "--recipe", home + "/eval.yaml", "--set", "metric=[chrf]"])
            #expect(misspelt.code == 2 && misspelt.errors.contains("did you mean metrics"), "\(misspelt.errors)")
        }
    }

    @Test func textsAreRead() throws {
        try withModels { first, _, _ in
            try FileSystem.write("Some words.\nAnd more of them.".utf8, to: home + "/text.txt")
            let outcome = try moru.run(["eval", first, home + "/text.txt", "--json", "--window", "8"])
            let json = try JSON.parse(outcome.output, source: "eval")
            #expect(outcome.code == 0 && json["task"] == "text" && json["scored_tokens"] == 29, "\(outcome.errors)")
        }
    }

    @Test(arguments: [
        (["eval"], "moru eval <model> <data>"), (["eval", "m"], "moru eval <model> <data>"),
        (["eval", "--model", "m"], "after --model"), (["eval", "m", "d", "--set", "limit=3"], "--recipe"),
        (["eval", "m", "d", "--recipe", "r.yaml"], "names models and data"),
    ])
    func argumentsThatContradict(arguments: [String], words: String) throws {
        let outcome = try moru.run(arguments)
        #expect(outcome.code == 64 && outcome.errors.contains(words), "\(outcome.errors)")
    }

    /// Enabled by MORU_TEST_LM_EVAL, which names a Python with `lm_eval[api]`.
    @Test(
        "the lm-eval harness, pointed at the served model, agrees with the built-in scorer",
        .tags(.live, .slow), .enabled(if: TestNeeds.lmEval != nil, "needs MORU_TEST_LM_EVAL"))
    func harness() throws {
        defer { FileSystem.remove(home) }
        try TestModels.writeTinyDirectory(home + "/tiny")
        let questions = (0..<24).map { number -> String in
            let (sum, right) = (number * 7 % 13 + number, number % 3)
            var choices = ["\(sum + 1)", "\(sum * 2 + 3)", "about \(sum + 10)"]
            choices[right] = "\(sum)"
            let list = choices.map { "\"\($0)\"" }.joined(separator: ", ")
            return
                #"{"question": "Question: \#(number * 7 % 13) plus \#(number)?\nAnswer:", "choices": [\#(list)], "answer": \#(right)}"#
        }
        // Some of few tokens, whose products are rounded otherwise
        let short = [
            #"{"question": "Water freezes at", "choices": ["0 degrees Celsius", "50 degrees", "100 degrees Celsius"], "answer": 0}"#,
            #"{"question": "The opposite of hot is", "choices": ["warm", "cold", "burning hot and unpleasant"], "answer": 1}"#,
        ]
        let lines = questions + short
        try FileSystem.write((lines.joined(separator: "\n") + "\n").utf8, to: home + "/data.jsonl")
        for model in [home + "/tiny", TestNeeds.smolLM2].compactMap(\.self) {
            let own = try moru.run(["eval", model, home + "/data.jsonl", "--json", "--outcomes"])
            #expect(own.code == 0, "\(own.errors)")
            let report = try JSON.parse(own.output, source: "eval")
            let port = Int.random(in: 20000..<60000)
            var printed = ""
            _ = try moru.run(["serve", model, "--port", "\(port)", "--name", "served"]) { server in
                defer { server.terminate() }
                printed = try TestNeeds.runPython(
                    try FileSystem.readText(Self.script),
                    arguments: ["http://127.0.0.1:\(port)", "served", home + "/data.jsonl"],
                    interpreter: TestNeeds.lmEval)
            }
            let harness = try JSON.parse(printed, source: "lm-eval")
            #expect(report["accuracy"]?.double == harness["acc"]?.double, "\(model)")
            #expect(report["accuracy_for_length"]?.double == harness["acc_norm"]?.double, "\(model)")
            let theirs = harness["log_likelihoods"]?.array ?? []
            #expect(theirs.count == lines.count)
            for (outcome, scores) in zip(report["outcomes"]?.array ?? [], theirs) {
                let own = outcome["log_likelihoods"]?.array?.compactMap(\.double) ?? []
                let other = scores.array?.compactMap(\.double) ?? []
                #expect(own.count == 3 && zip(own, other).allSatisfy { abs($0 - $1) < 1e-4 }, "\(own) \(other)")
            }
        }
    }

    private static let script =
        (#filePath as NSString).deletingLastPathComponent + "/../../scripts/lm-eval-choice"
}
