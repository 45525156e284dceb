import Foundation
import MoruBase
import MoruModels
import MoruNN
import MoruTensor
import MoruTestKit
import MoruText
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

    /// Virtual tokens before encoders and a decoder, in the ways that PEFT has.
    static let virtual = [
        "prompt", "prefix", "prompt-bert", "prefix-bert", "prompt-bert-tokens", "prefix-bert-tokens", "prompt-roberta",
        "prefix-roberta", "prompt-roberta-tokens", "prefix-roberta-tokens", "prompt-distilbert",
        "prompt-distilbert-tokens",
    ]
    static let adapters = ["lora", "lora-tokens", "lora-bert", "lora-distilbert", "ia3"] + virtual

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

    @Test(arguments: virtual) func gradientsOfVirtualTokensAgreeWithPEFT(name: String) throws {
        let written = try Self.written.get()
        let golden = try #require(written.answers["adapters"]?[name])
        let base = try #require(golden["base"]?.string)
        let model = try HeadedModel.load(written.model(base), adapter: written.adapter(name))
        let parameters = try #require(model.adapter).parameters
        let (_, gradients) = Runtime.withPrecision(.f32) {
            valueAndGradients(of: parameters) {
                let logits = model.logits(model.batch([written.tokens]))
                let shape = model.configuration.place == .token ? logits.shape : [logits.shape[1]]
                return (logits * Deterministic.tensor("weights", shape).reshaped(logits.shape)).sum()
            }
        }
        let expected = try #require(golden["gradient"]).floats
        let size = expected.map(abs).max() ?? 0
        #expect(size > 1e-3)
        expectClose(gradients[0].values(), expected, absolute: 1e-3 * size, name)
    }

    /// Prompt and prefix leave the types of a pair's tokens where they were: virtual ones have the first.
    @Test(arguments: ["prompt-bert", "prefix-bert"]) func typesGoWithTheText(name: String) throws {
        let written = try Self.written.get()
        let model = try HeadedModel.load(written.model("bert"), adapter: written.adapter(name))
        let types = [Int32](repeating: 0, count: 10) + [Int32](repeating: 1, count: written.tokens.count - 10)
        let sequence = TokenSequence(written.tokens, types: types)
        let found = Runtime.withPrecision(.f32) {
            model.logits(TokenBatch([sequence], adapter: model.adapter)).values()
        }
        let expected = try #require(written.answers["adapters"]?[name]?["typed"]).floats
        expectClose(found, expected, absolute: 1e-4, name)
        #expect(disagreement(found, logits(model, written.tokens), absolute: 1e-3, relative: 0) != nil)
    }

    /// Vectors pool the text's own states, whatever stands before it.
    @Test func vectorsOfVirtualTokensAreThoseOfPEFT() throws {
        let written = try Self.written.get()
        let scratch = try Scratch()
        var (plan, expected): (JSONObject, [String: [Float]]) = (JSONObject(), [:])
        for name in ["bert", "roberta", "distilbert", "llama"] {
            let path = written.model(name)
            let embedder = TextEmbedder(try .load(path), modules: SentenceModules(poolings: [.mean]))
            let (base, tokenizer) = (embedder.model.base, embedder.model.tokenizer)
            var adapters: [any Adapter] = [
                try PromptTuningAdapter(tokens: 3, start: .text("Hi!"), for: base, tokenizer, seed: 6)
            ]
            if name != "distilbert" {
                adapters.append(try PrefixTuningAdapter(tokens: 3, start: .random, for: base, tokenizer, seed: 6))
            }
            for adapter in adapters {
                let adapted = embedder.adapted(by: adapter)
                let key = "vector \(expected.count)"
                try adapter.save(to: "\(scratch.path)/\(key)", baseModel: path, withModulesOf: adapted)
                plan[key] = [.string(path), .string("\(scratch.path)/\(key)")]
                func vector(_ embedder: TextEmbedder) -> [Float] {
                    Runtime.withPrecision(.f32) { embedder.vectors(of: [written.tokens]).values() }
                }
                expected[key] = vector(adapted)
                let again = try embedder.adapted(from: "\(scratch.path)/\(key)")
                #expect(vector(again) == expected[key] && vector(embedder) != expected[key])
            }
        }
        try FileSystem.write(JSON.object(plan).text().utf8, to: scratch.path + "/plan.json")
        let answers = try Self.run(["check", scratch.path + "/plan.json"])
        for (key, value) in expected { expectClose(answers[key]?.floats ?? [], value, absolute: 1e-4, key) }
    }

    @Test func whatVirtualTokensCannotBeginWithIsRefused() throws {
        let written = try Self.written.get()
        let bert = try PretrainedTextModel.load(written.model("bert"), forHead: true)
        let started = #expect(throws: MoruError.self) {
            try PrefixTuningAdapter(tokens: 3, start: .text("Hello"), for: bert.base, bert.tokenizer, seed: 0)
        }
        #expect(started?.code == .adapterUnsupported && started?.remedy?.contains("random") == true)
        let distilled = try PretrainedTextModel.load(written.model("distilbert"), forHead: true)
        let refused = #expect(throws: MoruError.self) {
            try PrefixTuningAdapter(tokens: 3, start: .random, for: distilled.base, distilled.tokenizer, seed: 0)
        }
        #expect(refused?.code == .adapterUnsupported && refused?.message.contains("DistilBERT") == true)
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
        for (name, place) in [
            ("bert", HeadConfiguration.Place.sequence), ("bert", .token), ("roberta", .sequence),
            ("distilbert", .sequence),
            ("distilbert", .token),
        ] {
            let path = written.model(name)
            let fresh = try HeadedModel.start(path, head: HeadConfiguration(place, labels: labels), seed: 4)
            let (base, tokenizer) = (fresh.base, fresh.trunk.tokenizer)
            var adapters: [String: any Adapter] = [
                "prompt": try PromptTuningAdapter(tokens: 4, start: .text("Hi!"), for: base, tokenizer, seed: 6)
            ]
            if name != "distilbert" {
                adapters["prefix"] = try PrefixTuningAdapter(tokens: 4, start: .random, for: base, tokenizer, seed: 6)
            }
            for (kind, adapter) in adapters {
                let model = fresh.adapted(by: adapter)
                let key = "\(name) \(place.rawValue) \(kind)"
                let saved = "\(scratch.path)/\(key)"
                try adapter.save(to: saved, baseModel: path, withHeadOf: model)
                plan[key] = [.string(path), .string(saved)]
                expected[key] = (logits(model, written.tokens), labels)
                #expect(logits(try HeadedModel.load(path, adapter: saved), written.tokens) == expected[key]?.logits)
            }
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
        for (name, adapter) in [
            ("bert", nil), ("llama", nil), ("distilbert-tokens", nil), ("bert", "prompt-bert"), ("bert", "prefix-bert"),
            ("distilbert-tokens", "prompt-distilbert-tokens"),
        ] {
            let model = try HeadedModel.load(written.model(name), adapter: adapter.map(written.adapter))
            let texts = (0..<11).map { Array(written.tokens.prefix(9 + $0)) }
            let together = model.logits(model.batch(texts)).values()
            let alone = texts.flatMap { model.logits(model.batch([$0])).values() }
            #expect(together == alone, "\(name)")
        }
    }
}
