import Foundation
import MoruBase
import MoruModels
import MoruNN
import MoruTestKit
import Testing

@testable import MoruTraining

/// Heads learnt from recipes, on tiny bases.
@Suite struct HeadTuningTests {
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    /// Fresh for each run: some methods move it.
    private func trunk(encoder: Bool = false) throws -> PretrainedTextModel {
        encoder ? try TestModels.tinyEncoder(seed: 1, forHead: true) : try TestModels.tinyTrunk(seed: 1)
    }

    private static let data: [String: [String]] = [
        "classification": ["good tea", "bad tea", "good pie", "bad pie", "good ale", "bad ale"].map {
            #"{"text": "\#($0)", "label": "\#($0.prefix(3))"}"#
        },
        "many": ["good hot tea", "bad tea", "hot pie", "good pie", "bad hot ale", "ale"].map { text in
            let labels = ["good", "bad", "hot"].filter { text.contains($0) }.map { "\"\($0)\"" }
            return #"{"text": "\#(text)", "labels": [\#(labels.joined(separator: ","))]}"#
        },
        "regression": [("a", 1.0), ("aa", 2), ("aaa", 3), ("aaaa", 4)].map {
            #"{"text": "\#($0.0)", "value": \#($0.1)}"#
        },
        "extraction": [("pay 5 now", 4), ("pay 7 later", 4), ("now pay 3", 8), ("8 is due", 0)].map {
            #"{"text": "\#($0.0)", "entities": [{"start": \#($0.1), "end": \#($0.1 + 1), "label": "AMOUNT"}]}"#
        },
        "words": [#"{"tokens": ["pay", "12", "now"], "tags": ["O", "B-AMOUNT", "O"]}"#],
    ]

    private func recipe(_ name: String, _ overrides: [String]) throws -> Recipe {
        let train = try folder.write((Self.data[name] ?? []).joined(separator: "\n"), to: "\(name).jsonl")
        let objective = ["many": "classification", "words": "extraction"][name] ?? name
        return try Recipe(
            yaml: """
                model: tiny
                output: \(folder.path)/run
                objective: \(objective)
                data: {train: \(train), validation: \(train)}
                training: {epochs: 4, batch_size: 2, learning_rate: 1e-2, save_every: 1, keep: 2, precision: f32}
                """, source: "test", overrides: overrides)
    }

    /// Every kind of head and every method: the loss falls, the figures are there, and a run that goes on from a
    /// checkpoint takes the same steps.
    @Test(arguments: [
        ("classification", ["method=lora", "head.dropout=0.2"]), ("classification", ["method=full"]),
        ("classification", ["method=head"]), ("classification", ["method=last_layers", "last_layers.count=1"]),
        ("classification", ["method=ia3"]),
        ("classification", ["method=prompt", "virtual_tokens.count=3", "training.epochs=20"]),
        ("classification", ["method=prefix", "virtual_tokens.count=3", "training.epochs=20"]),
        ("many", ["method=lora"]),
        ("regression", ["method=lora"]), ("extraction", ["method=lora"]), ("words", ["method=full"]),
    ])
    func everyHeadIsLearntByEveryMethod(data: String, overrides: [String]) throws {
        try learns(data, overrides, encoder: false)
    }

    /// The same of virtual tokens before an encoder's texts.
    @Test(arguments: [
        ("classification", "prompt"), ("classification", "prefix"), ("extraction", "prompt"), ("extraction", "prefix"),
    ])
    func anEncoderLearnsVirtualTokens(data: String, method: String) throws {
        try learns(data, ["method=\(method)", "virtual_tokens.count=3", "training.epochs=20"], encoder: true)
    }

    @Test func anEncodersPrefixBeginsAtRandom() throws {
        let overrides = ["method=prefix", "virtual_tokens.count=3", "virtual_tokens.text=ab"]
        let refused = HeadTuning(try recipe("classification", overrides), trunk: try trunk(encoder: true))
        let error = #expect(throws: MoruError.self) { try refused.run { _ in } }
        #expect(error?.code == .adapterUnsupported && error?.remedy?.contains("virtual_tokens.text: null") == true)
        try learns("classification", overrides + ["virtual_tokens.text=null", "training.epochs=20"], encoder: true)
    }

    private func learns(_ data: String, _ overrides: [String], encoder: Bool) throws {
        let recipe = try recipe(data, overrides)
        #expect(try Recipe(yaml: recipe.yaml, source: "written") == recipe)
        func tune(_ existing: ExistingRun) throws -> (TuningResult, [TrainingEvent], TrainingEvent.Validation?) {
            var tuning = HeadTuning(recipe, trunk: try trunk(encoder: encoder))
            tuning.existingRun = existing
            var (events, last): ([TrainingEvent], TrainingEvent.Validation?) = ([], nil)
            let result = try tuning.run {
                events.append($0)
                if case .validation(let validation) = $0 { last = validation }
            }
            return (result, events, last)
        }
        let (result, events, last) = try tune(.refuse)
        #expect(try #require(result.summary.bestValidationLoss) < #require(events.losses.first))
        let figures = Set(try #require(last).others.keys)
        #expect(figures == (data == "regression" ? ["rmse"] : ["accuracy", "f1"]))
        #expect(result.isAdapter == ["lora", "ia3", "prompt", "prefix"].contains(recipe.method.rawValue))
        let steps = result.summary.steps
        FileSystem.remove(recipe.output + "/checkpoints/step-\(String(format: "%06d", steps))")
        let (again, rest, _) = try tune(.resume)
        #expect(rest.losses == events.losses.suffix(1) && again.summary.steps == steps)
    }

    @Test(arguments: [
        ["method=lora"], ["method=full"], ["method=head"], ["method=prefix", "virtual_tokens.count=3"],
    ])
    func anEncoderLearnsToTellWordsApart(overrides: [String]) throws {
        var recipe = try recipe("classification", overrides)
        recipe.training.length = .epochs(20)
        var accuracy = 0.0
        let result = try HeadTuning(recipe, trunk: trunk(encoder: true)).run {
            if case .validation(let validation) = $0 { accuracy = validation.others["accuracy"] ?? 0 }
        }
        let isFair = recipe.method != .head
        #expect(accuracy == 1 || !isFair, "\(accuracy)")
        if result.isAdapter {
            let model = try AdapterDirectory.load(from: result.directory, forHeadOn: trunk(encoder: true))
            let found = try model.classify(["good tea", "bad pie"])
            #expect(found.map(\.labels) == [["goo"], ["bad"]])
            #expect(found[0].scores.count == 2 && abs(found[0].scores.map(\.score).reduce(0, +) - 1) < 1e-5)
        }
    }

    @Test func whatWasLearntIsExtracted() throws {
        var recipe = try recipe("extraction", ["method=lora"])
        recipe.training.length = .epochs(30)
        let result = try HeadTuning(recipe, trunk: trunk()).run()
        let model = try AdapterDirectory.load(from: result.directory, forHeadOn: trunk())
        #expect(model.configuration.labels == ["O", "B-AMOUNT", "I-AMOUNT"])
        let spans = try model.extract(["pay 5 now", "8 is due"])
        #expect(spans.map { $0.map(\.text) } == [["5"], ["8"]])
        #expect(spans[0].first?.start == 4 && spans[0].first?.end == 5 && spans[0].first?.label == "AMOUNT")
        #expect(throws: MoruError.self) { try model.classify(["a"]) }
    }

    @Test func badDataNamesLineAndRemedy() throws {
        func run(_ name: String, _ line: String, _ overrides: [String] = []) throws {
            var recipe = try recipe(name, overrides)
            let lines = (Self.data[name] ?? []) + [line]
            recipe.data.train = try folder.write(lines.joined(separator: "\n"), to: "bad.jsonl")
            _ = try HeadTuning(recipe, trunk: trunk()).run()
        }
        expectError(.dataMalformed, "bad.jsonl, line 7: label is missing") {
            try run("classification", #"{"text": "x"}"#)
        }
        expectError(.dataMalformed, "line 7: the label is odd") {
            try run("classification", #"{"text": "x", "label": "odd"}"#, ["data.labels=[goo, bad]"])
        }
        expectError(.dataMalformed, "line 5: entities[0] goes from 0 to 9, the text has 3 characters") {
            try run("extraction", #"{"text": "pay", "entities": [{"start": 0, "end": 9, "label": "A"}]}"#)
        }
        expectError(.dataMalformed, "overlap") {
            try run(
                "extraction",
                #"{"text": "pay", "entities": [{"start": 0, "end": 2, "label": "A"}, {"start": 1, "end": 3, "label": "B"}]}"#
            )
        }
        expectError(.dataMalformed, "value is") { try run("regression", #"{"text": "x", "value": "much"}"#) }
        expectError(.dataTooLong, "line 7: the text has 70 tokens") {
            try run("classification", #"{"text": "\#(String(repeating: "x", count: 70))", "label": "bad"}"#)
        }
        expectError(.recipeValue, "the method is head") {
            _ = try recipe("classification", ["objective=sft", "method=head"])
        }
    }

    @Test func figuresCountAsTheirNamesSay() throws {
        let tags = HeadConfiguration(.token, labels: TagScheme.tags(for: ["A", "B"]))
        // O B-A I-A I-A O against O B-A I-A O B-B: one of two spans ends too late, the other is missing
        func row(_ best: Int) -> [Float] { (0..<5).map { $0 == best ? 1 : 0 } }
        let example = HeadExample(tokens: [0, 0, 0, 0, 0, 0], target: .tags([0, 1, 2, 0, 3, -1]))
        let counts = HeadCounts(tags, [0, 1, 2, 2, 0, 4].flatMap(row), [example])
        var figures = HeadCounts.figures(TaskMeasurement(loss: 0, others: counts.sums), targets: 5, tags)
        #expect(figures == ["accuracy": 0.6, "f1": 0])
        let labels = HeadConfiguration(.sequence, labels: ["x", "y", "z"])
        let answers: [(Int32, Int)] = [(0, 0), (0, 1), (1, 1), (1, 1)]
        let right = HeadCounts(
            labels, answers.flatMap { answer in (0..<3).map { $0 == answer.1 ? Float(1) : 0 } },
            answers.map { HeadExample(tokens: [0], target: .label($0.0)) })
        figures = HeadCounts.figures(TaskMeasurement(loss: 0, others: right.sums), targets: 4, labels)
        // F1 of x is 2/3, of y 4/5; z occurs nowhere
        #expect(figures["accuracy"] == 0.75 && abs((figures["f1"] ?? 0) - (2.0 / 3 + 0.8) / 2) < 1e-12)
    }
}
