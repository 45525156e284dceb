import Foundation
import MoruBase
import MoruModels
import MoruNN
import MoruTensor
import MoruTestKit
import Testing

/// Heads of transformers and PEFT here, and heads of Moru there.
@Suite(.tags(.golden), .enabled(if: TestNeeds.python != nil)) struct HeadTests {
    private struct Written: Sendable {
        let directory: String
        let answers: JSON
        var tokens: [Int32] { answers["tokens"]?.ints.map(Int32.init) ?? [] }
        func model(_ name: String) -> String { "\(directory)/models/\(name)" }
        func adapter(_ name: String) -> String { "\(directory)/adapters/\(name)" }
    }

    private static let written = Result {
        let directory = TestNeeds.temporaryPath("heads")
        RemovedAtExit.append(directory)
        let answers = try run(["write", directory])
        for name in answers["models"]?.object?.keys ?? [] {
            let path = "\(directory)/models/\(name)/tokenizer.json"
            try FileSystem.write(TestModels.byteTokenizerJSON.text().utf8, to: path)
        }
        return Written(directory: directory, answers: answers)
    }

    private static func run(_ arguments: [String]) throws -> JSON {
        try Goldens.json(printedBy: "heads.py", arguments)
    }

    private func logits(_ model: HeadedModel, _ tokens: [Int32]) -> [Float] {
        Runtime.withPrecision(.f32) { model.logits(model.batch([tokens])).values() }
    }

    static let models = [
        "bert", "bert-tokens", "bert-many", "roberta", "roberta-tokens", "distilbert", "distilbert-tokens", "llama",
        "llama-number", "llama-tokens", "qwen2", "gpt2", "gpt2-tokens",
    ]

    @Test(arguments: models) func headsOfTransformersGiveTheSameLogits(name: String) throws {
        let written = try Self.written.get()
        let model = try HeadedModel.load(written.model(name))
        let expected = try #require(written.answers["models"]?[name])
        expectClose(logits(model, written.tokens), expected.floats, absolute: 1e-4, name)
        switch name {
        case "bert": #expect(model.configuration == HeadConfiguration(.sequence, labels: ["bad", "good", "so so"]))
        case "bert-many": #expect(model.configuration.problem == .multiLabel)
        case "llama-number": #expect(model.configuration.problem == .regression)
        case "qwen2": #expect(model.configuration.labels == ["LABEL_0", "LABEL_1"])
        case "llama-tokens":
            #expect(model.configuration == HeadConfiguration(.token, labels: ["O", "B-NAME", "I-NAME"]))
        default: break
        }
    }

    static let adapters = ["lora", "lora-tokens", "lora-bert", "lora-distilbert", "ia3", "prompt", "prefix"]

    @Test(arguments: adapters) func adaptersOfPEFTBringTheirHeads(name: String) throws {
        let written = try Self.written.get()
        let golden = try #require(written.answers["adapters"]?[name])
        let base = try #require(golden["base"]?.string)
        let model = try HeadedModel.load(written.model(base), adapter: written.adapter(name))
        #expect(model.adapter != nil)
        let expected = try #require(golden["logits"]).floats
        let plain = try #require(written.answers["models"]?[base]).floats
        #expect(disagreement(plain, expected, absolute: 0.05, relative: 0) != nil, "the adapter changes nothing")
        expectClose(logits(model, written.tokens), expected, absolute: 1e-4, name)
    }

    @Test func transformersAndPEFTLoadWhatMoruSaves() throws {
        let written = try Self.written.get()
        let scratch = try Scratch()
        var plan = JSONObject()
        var expected: [String: (logits: [Float], labels: [String])] = [:]
        for name in Self.models {
            let model = try HeadedModel.load(written.model(name))
            try model.save(to: "\(scratch.path)/\(name)")
            plan[name] = [.string("\(scratch.path)/\(name)")]
            expected[name] = (logits(model, written.tokens), model.configuration.labels)
        }
        let labels = ["north", "east", "south", "west"]
        for (name, place) in [
            ("llama", HeadConfiguration.Place.sequence), ("llama", .token), ("bert", .sequence),
            ("distilbert", .sequence),
        ] {
            // A fresh head of other labels, beside an adapter
            let path = written.model(name)
            let fresh = try HeadedModel.start(path, head: HeadConfiguration(place, labels: labels), seed: 3)
            #expect(fresh.isFresh)
            let adapter = try LoRAAdapter(
                LoRAConfiguration(rank: 3, targets: [name == "llama" ? "q_proj" : name == "bert" ? "query" : "q_lin"]),
                adapting: fresh.base.linears, seed: 5)
            for pair in adapter.pairs.values { pair.b.value = Deterministic.tensor(pair.b.path, pair.b.value.shape) }
            let model = fresh.adapted(by: adapter)
            let key = "\(name) \(place.rawValue) adapter"
            let saved = "\(scratch.path)/\(key)"
            try adapter.save(to: saved, baseModel: path, withHeadOf: model)
            plan[key] = [.string(path), .string(saved)]
            expected[key] = (logits(model, written.tokens), labels)
            let again = try HeadedModel.load(path, adapter: saved)
            #expect(again.configuration == model.configuration)
            #expect(logits(again, written.tokens) == expected[key]?.logits)
        }
        try FileSystem.write(JSON.object(plan).text().utf8, to: scratch.path + "/plan.json")
        let answers = try Self.run(["check", scratch.path + "/plan.json"])
        for (key, value) in expected {
            expectClose(answers[key]?["logits"]?.floats ?? [], value.logits, absolute: 1e-4, key)
            #expect(answers[key]?["labels"]?.array?.compactMap(\.string) == value.labels, "\(key)")
        }
    }

    @Test func aHeadIsKeptForTheSameLabelsOnly() throws {
        let path = try Self.written.get().model("bert")
        let same = HeadConfiguration(.sequence, labels: ["bad", "good", "so so"])
        #expect(try HeadedModel.start(path, head: same, seed: 1).isFresh == false)
        #expect(try HeadedModel.start(path, head: .regression(), seed: 1).isFresh)
        #expect(throws: MoruError.self) { try AdapterDirectory.load(from: "/nowhere", for: TestModels.tinyLlama()) }
    }

    @Test func aSequenceInABatchHasTheLogitsOfItsOwn() throws {
        let written = try Self.written.get()
        for name in ["bert", "llama", "distilbert-tokens"] {
            let model = try HeadedModel.load(written.model(name))
            let texts = (0..<11).map { Array(written.tokens.prefix(9 + $0)) }
            let together = model.logits(model.batch(texts)).values()
            let alone = texts.flatMap { model.logits(model.batch([$0])).values() }
            #expect(together == alone, "\(name)")
        }
    }
}
