import MoruBase
import MoruModels
import MoruNN
import MoruTensor
import MoruTestKit
import Testing

/// The architectures beside Llama, Qwen and GPT-2 against transformers, on tiny models with deterministic weights.
@Suite(.tags(.golden)) struct FamiliesTests {
    static let variants = [
        "granite", "granite-biases", "smollm3", "smollm3-window", "olmo2", "olmo2-grouped", "pythia", "gpt-neox-serial",
        "phi3", "phi4-mini", "phi4-mini-long",
    ]

    private func load(_ variant: String) throws -> LanguageModelGolden {
        try LanguageModelGolden("families.json", variant)
    }

    @Test(arguments: variants) func logitsAgreeWithTransformers(variant: String) throws {
        try load(variant).expectLogits()
    }

    @Test(arguments: variants, [false, true]) func gradientsAgreeWithTransformers(
        variant: String, recomputes: Bool
    ) throws {
        try Runtime.withRecomputation(recomputes) { try load(variant).expectGradients() }
    }

    // A cache does not grow from the short factors of LongRoPE into the long ones
    @Test(arguments: variants.filter { $0 != "phi4-mini-long" }) func cachedStepsAgreeWithTheWholeSequence(
        variant: String
    ) throws {
        try load(variant).expectCachedSteps()
    }

    @Test(arguments: variants) func sequencesOfABatchDoNotSeeEachOther(variant: String) throws {
        let model = try load(variant).model
        let (a, b): ([Int32], [Int32]) = ([1, 2, 3, 4, 5], [9, 8, 7])
        Runtime.withPrecision(.f32) {
            let both = model.hiddenStates(TokenBatch([a, b]))
            expectClose(both.rows(0..<5), model.hiddenStates(TokenBatch([a])))
            expectClose(both.rows(5..<8), model.hiddenStates(TokenBatch([b])))
        }
    }

    @Test(arguments: variants) func whatIsWrittenReadsTheSame(variant: String) throws {
        let golden = try load(variant)
        let model = golden.model
        let again = try LanguageModels.build(
            model.configurationJSON, source: variant, Weights(DeterministicWeights()))
        #expect(again.facts == model.facts)
        #expect(again.configurationJSON == model.configurationJSON)
        expectEqual(LanguageModelGolden.logits(again, golden.tokens), golden.logits)
    }
}

/// LongRoPE, whose factors are chosen for each sequence.
@Suite struct LongRopeTests {
    private func model(_ changes: JSON = [:]) throws -> any LanguageModel {
        var config = try LanguageModelGolden("families.json", "phi4-mini-long").configuration
        for (key, value) in changes.object?.members.map({ ($0.key, $0.value) }) ?? [] { config[key] = value }
        return try LanguageModels.build(.object(config), source: "config.json", Weights(DeterministicWeights()))
    }

    @Test func longAndShortSequencesShareABatch() throws {
        let model = try model()
        let (long, short) = ((0..<20).map { Int32($0) }, [Int32](repeating: 7, count: 16))
        Runtime.withPrecision(.f32) {
            let both = model.hiddenStates(TokenBatch([long, short]))
            expectClose(both.rows(0..<20), model.hiddenStates(TokenBatch([long])))
            expectClose(both.rows(20..<36), model.hiddenStates(TokenBatch([short])))
            let first = model.hiddenStates(TokenBatch([Array(long.prefix(16))]))
            #expect(disagreement(first.values(), both.rows(0..<16).values(), absolute: 1e-2, relative: 0) != nil)
        }
    }

    @Test func theContextIsTheOriginalOne() throws {
        #expect(try model().facts.contextLength == 16)
        #expect(try model(["original_max_position_embeddings": 128]).facts.contextLength == 128)
    }

    @Test func factorsAreChecked() throws {
        let parameters: [(String, JSON)] = [
            ("short_factor", ["rope_type": "longrope", "long_factor": [1, 2, 3]]),
            ("long_factor", ["rope_type": "longrope", "short_factor": [1, 2, 3], "long_factor": [1, "two", 3]]),
            ("short_factor", ["rope_type": "su", "short_factor": [1, 0, 3], "long_factor": [1, 2, 3]]),
            (
                "3 are needed",
                [
                    "rope_type": "longrope", "short_factor": [1, 2], "long_factor": [1, 2, 3],
                    "partial_rotary_factor": 0.75,
                ]
            ),
        ]
        for (word, rope) in parameters {
            let error = #expect(throws: MoruError.self) { try model(["rope_parameters": rope]) }
            #expect(error?.message.contains(word) == true, "\(rope.text()): \(String(describing: error))")
        }
        var config = try #require(TestModels.tinyLlamaConfiguration.object)
        config["rope_scaling"] = ["rope_type": "longrope", "short_factor": [1], "long_factor": [1]]
        let error = #expect(throws: MoruError.self) { try TestModels.tinyLlama(configuration: .object(config)) }
        #expect(error?.code == .modelUnsupported && error?.message.contains("longrope") == true)
    }
}

/// What the configurations of these architectures leave out, and what they may not say.
@Suite struct FamiliesConfigurationTests {
    private func llama(_ changes: JSON) throws -> LlamaConfiguration {
        var config = try #require(TestModels.tinyLlamaConfiguration.object)
        config["tie_word_embeddings"] = nil
        config["rope_theta"] = nil
        for (key, value) in changes.object?.members.map({ ($0.key, $0.value) }) ?? [] { config[key] = value }
        return try LlamaConfiguration(json: .object(config), source: "config.json")
    }

    @Test func defaultsOfEachMember() throws {
        let smollm3 = try llama(["model_type": "smollm3", "num_hidden_layers": 5])
        #expect(smollm3.rotates == [true, true, true, false, true] && smollm3.tiesEmbeddings)
        #expect(smollm3.ropeBase == 2_000_000 && smollm3.windows == [nil, nil, nil, nil, nil])
        let window: JSON = [
            "model_type": "smollm3", "use_sliding_window": true, "sliding_window": 9, "no_rope_layers": [0, 1],
        ]
        #expect(try llama(window).windows == [9, nil])
        let granite = try llama(["model_type": "granite"])
        #expect(granite.multipliers.scores == 1 && granite.multipliers.logitsDivisor == 1)
        #expect(try llama([:]).multipliers.scores == nil)
    }

    @Test func whatCannotBeIsRefusedByKey() throws {
        let changes: [(String, JSON)] = [
            ("no_rope_layers", ["model_type": "smollm3", "no_rope_layers": [1]]),
            ("no_rope_layers", ["model_type": "smollm3", "no_rope_layers": [1, 2]]),
            ("logits_scaling", ["model_type": "granite", "logits_scaling": 0]),
            ("partial_rotary_factor", ["partial_rotary_factor": 0.5]),
            ("partial_rotary_factor", ["rope_parameters": ["rope_theta": 1e4, "partial_rotary_factor": 0.5]]),
        ]
        for (key, change) in changes {
            let error = #expect(throws: MoruError.self) { try llama(change) }
            #expect(error?.message.contains(key) == true, "\(change.text())")
        }
    }

    @Test func configurationsOfGPTNeoXAreChecked() throws {
        let usual: JSON = [
            "model_type": "gpt_neox", "vocab_size": 64, "hidden_size": 32, "intermediate_size": 64,
            "num_hidden_layers": 1, "num_attention_heads": 4, "rotary_pct": 0.5,
        ]
        func read(_ key: String, _ value: JSON) throws -> GPTNeoXConfiguration {
            var config = try #require(usual.object)
            config[key] = value
            return try GPTNeoXConfiguration(json: .object(config), source: "config.json")
        }
        #expect(try read("rotary_emb_base", 500).ropeBase == 500)
        #expect(try read("rotary_pct", 1).rotatedDim == 8)
        for (key, value, word) in [
            ("num_attention_heads", JSON.int(5), "num_attention_heads"), ("hidden_act", "relu6", "hidden_act"),
            ("rotary_pct", 0.4, "a head's 8 elements"), ("rotary_pct", 2, "rotary_pct"),
            ("num_hidden_layers", "two", "num_hidden_layers"),
        ] {
            let error = #expect(throws: MoruError.self) { try read(key, value) }
            #expect(error?.message.contains(word) == true, "\(key): \(String(describing: error))")
        }
    }
}
