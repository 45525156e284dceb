import Foundation
import MoruBase
import MoruTestKit
import Testing

@testable import MoruTrust

@Suite struct EvaluationRecipeTests {
    private let whole = """
        data: data/test.jsonl
        task: answers
        models:
          - smollm2-135m-instruct
          - name: tuned
            model: ./models/base.gguf
            adapter: runs/first/adapter
          - {model: other, adapter: /abs/second/adapter, gated: false}
        against: base.json
        metrics: [rougeL, chrf++]
        labels: [mood]
        instruction: "Answer: good or bad."
        limit: 20
        max_tokens: 12
        window: 512
        gates:
          - accuracy >= 0.8
          - perplexity.upper<=20
        report: out/eval.html
        save: out/eval.json
        """

    @Test func everyKeyIsReadAndPathsAreTheRecipes() throws {
        let recipe = try EvaluationRecipe(yaml: whole, source: "eval.yaml", directory: "/r")
        #expect(recipe.data == "/r/data/test.jsonl" && recipe.task == .answers && recipe.against == "/r/base.json")
        #expect(
            recipe.models == [
                .init(model: "smollm2-135m-instruct"),
                .init(name: "tuned", model: "/r/models/base.gguf", adapter: "/r/runs/first/adapter"),
                .init(name: "second", model: "other", adapter: "/abs/second/adapter", isGated: false),
            ])
        #expect(recipe.metrics == [.rougeL, .chrFPlusPlus] && recipe.labels == ["mood"])
        #expect(recipe.instruction == "Answer: good or bad." && recipe.limit == 20 && recipe.maximumTokens == 12)
        #expect(recipe.windowLength == 512 && recipe.gates.map(\.text) == ["accuracy >= 0.8", "perplexity.upper<=20"])
        #expect(recipe.report == "/r/out/eval.html" && recipe.save == "/r/out/eval.json")
        let changed = try EvaluationRecipe(
            yaml: whole, source: "eval.yaml", directory: "/r", overrides: ["limit=3", "data=here.jsonl"])
        #expect(changed.limit == 3 && changed.data == "here.jsonl")
        let short = try EvaluationRecipe(yaml: "data: d.jsonl\nmodels: one", source: "eval.yaml")
        #expect(short.models.map(\.name) == ["one"] && short.task == .auto && short.gates.isEmpty)
    }

    @Test(
        "what is wrong is named with its line and the remedy",
        arguments: [
            ("data: d\nmodels: m\ngate: [a > 1]", ":3", "did you mean gates"),
            ("data: d\nmodels: m\nmetrics: [rogueL]", ":3", "did you mean rougeL"),
            ("data: d\nmodels: m\ntask: choise", ":3", "did you mean choice"),
            ("data: d\nmodels:\n  - modle: m", ":3", "did you mean model"),
            ("data: d\nmodels:\n  - name: m", ":3", "name it"),
            ("data: d\nmodels:\n  - {model: m, gated: maybe}", ":3", "true or false"),
            ("data: d\nmodels: m\nlimit: few", ":3", "an integer of at least 1"),
            ("data: d\nmodels: m\ngates: [accuracy is good]", ":3", "accuracy >= 0.8"),
            ("models: m", "data is missing", "add it"), ("data: d", "models is missing", "add it"),
            ("data: [", "eval.yaml:2: ", "indentation"), ("- a", "no keys", "data"),
        ])
    func wrong(yaml: String, place: String, remedy: String) throws {
        let error = try #require(throws: MoruError.self) {
            try EvaluationRecipe(yaml: yaml, source: "eval.yaml")
        }
        #expect(error.message.contains("eval.yaml") && error.message.contains(place), "\(error)")
        #expect(error.remedy?.contains(remedy) == true, "\(error)")
    }

    @Test func modelsNeedNamesOfTheirOwn() throws {
        var recipe = EvaluationRecipe(data: "d", models: [.init(model: "a/b.gguf"), .init(model: "c/b")])
        #expect(throws: MoruError.self) { try recipe.requireConsistency() }
        recipe.models[0].name = "other"
        try recipe.requireConsistency()
        recipe.save = "/"
        #expect(throws: MoruError.self) { try recipe.requireConsistency() }
    }
}

@Suite struct EvaluationRunTests {
    private func withFile(_ lines: [String], _ body: (String) async throws -> Void) async throws {
        let path = TestNeeds.temporaryPath("eval.jsonl")
        try FileSystem.write(lines.joined(separator: "\n").utf8, to: path)
        defer { FileSystem.remove(path) }
        try await body(path)
    }

    private let answers = [
        #"{"prompt": "a", "completion": "good"}"#, #"{"prompt": "b", "completion": "bad"}"#,
    ]

    @Test func modelsStandSideBySideAndAPageShowsThem() async throws {
        try await withFile(answers) { path in
            var recipe = EvaluationRecipe(
                data: path, models: [.init(model: "one", isGated: false), .init(model: "two")])
            recipe.gates = [try Gate("exact_match >= 1"), try Gate("perplexity <= 1e9")]
            recipe.metrics = [.chrF]
            var loaded: [String] = []
            let run = try EvaluationRun(recipe) { name in
                loaded.append(name)
                return try TestModels.tinyPretrained(seed: name == "one" ? 1 : 2)
            }
            let comparison = try await run.run()
            #expect(loaded == ["one", "two"] && comparison.columns.map(\.name) == ["one", "two"])
            #expect(
                comparison.gates.map(\.passes) == [false, true] && comparison.gates.allSatisfy { $0.model == "two" })
            let html = EvaluationPage(comparison, recipe).html
            for words in ["1 gate failed", "Confusion: label", "Calibration, two", "Worst errors", "chrf", "<svg"] {
                #expect(html.contains(words), "\(words)")
            }
            #expect(!html.contains("http") && !html.contains("<script") && !html.contains("nan"))
            #expect(html.components(separatedBy: "<div").count == html.components(separatedBy: "</div>").count)
        }
    }

    @Test("a page shows markup in answers as text")
    func escaping() async throws {
        let report = try await Evaluation(
            try TrustFixtures.scripted(["<b>&"]), try TrustFixtures.examples(["<script>x</script>"])
        ).run()
        let comparison = try EvaluationComparison([EvaluationComparison.Column("<m>", report)])
        let html = EvaluationPage(comparison, EvaluationRecipe(data: "<d>", models: [])).html
        #expect(html.contains("&lt;script&gt;x&lt;/script&gt;") && html.contains("&lt;b&gt;&amp;"))
        #expect(!html.contains("<script") && !html.contains("<m>") && !html.contains("<d>"))
    }

    @Test("what cannot be is refused before a model is loaded")
    func refusals() async throws {
        func refusal(_ change: (inout EvaluationRecipe) throws -> Void, _ path: String) throws -> MoruError {
            var recipe = EvaluationRecipe(data: path, models: [.init(model: "m")])
            try change(&recipe)
            return try #require(throws: MoruError.self) {
                _ = try EvaluationRun(recipe) { _ in
                    Issue.record("a model was loaded")
                    return try TestModels.tinyPretrained()
                }
            }
        }
        try await withFile(answers) { path in
            let error = try refusal({ $0.gates = [try Gate("acuracy > 0.5")] }, path)
            #expect(error.remedy?.contains("accuracy") == true, "\(error)")
            #expect(try refusal({ $0.labels = ["mood"] }, path).code == .evaluationData)
            #expect(try refusal({ $0.against = "nosuch.json" }, path).message.contains("nosuch.json"))
        }
        try await withFile([#"{"question": "q", "choices": ["a", "b"], "answer": 0}"#]) { path in
            let unused = try refusal({ $0.metrics = [.bleu] }, path)
            #expect(unused.message.contains("metrics"))
            let gate = try refusal({ $0.gates = [try Gate("perplexity < 3")] }, path)
            #expect(gate.code == .evaluationGate)
        }
    }

    @Test("lines with choices are asked, lines of text are read")
    func tasks() async throws {
        try await withFile([#"{"question": "q", "choices": ["a", "b"], "answer": 0}"#]) { path in
            let recipe = EvaluationRecipe(data: path, models: [.init(model: "m")])
            let run = try EvaluationRun(recipe) { _ in try TestModels.tinyPretrained() }
            #expect(try await run.run().columns[0].report is MultipleChoice.Report)
        }
        try await withFile([#"{"text": "some words"}"#]) { path in
            let recipe = EvaluationRecipe(data: path, models: [.init(model: "m")])
            let run = try EvaluationRun(recipe) { _ in try TestModels.tinyPretrained() }
            let report = try #require(try await run.run().columns[0].report as? TextReport)
            let saved = try JSON.parse(report.json(includingOutcomes: true).text(), source: "r")
            #expect(try SavedReport.read(saved, source: "r").figures == report.figures)
        }
    }
}
