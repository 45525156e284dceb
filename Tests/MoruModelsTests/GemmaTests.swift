import MoruBase
import MoruNN
import MoruTensor
import MoruTestKit
import Testing

@testable import MoruModels

/// Gemma 2 and 3 against transformers, on tiny models with deterministic weights.
@Suite(.tags(.golden)) struct GemmaTests {
    static let variants = ["gemma2", "gemma2-uncapped", "gemma3", "gemma3-untied"]

    private func load(_ variant: String) throws -> LanguageModelGolden {
        try LanguageModelGolden("gemma.json", variant)
    }

    @Test(arguments: variants) func logitsAgreeWithTransformers(variant: String) throws {
        try load(variant).expectLogits()
    }

    @Test(arguments: variants, [false, true]) func gradientsAgreeWithTransformers(
        variant: String, recomputes: Bool
    ) throws {
        try Runtime.withRecomputation(recomputes) { try load(variant).expectGradients() }
    }

    @Test(arguments: variants) func cachedStepsAgreeWithTheWholeSequence(variant: String) throws {
        try load(variant).expectCachedSteps()
    }

    /// A row of a batch is that row alone, whatever stands beside it and however its sequence came in.
    @Test(arguments: ["gemma2", "gemma3"], [DType.f32, .bf16, .q8_0]) func rowsAreIndependent(
        variant: String, weights: DType
    ) throws {
        var config = try load(variant).configuration
        config["hidden_size"] = 64
        config["intermediate_size"] = 96
        config["head_dim"] = 32
        let model = try TestModels.tinyLlama(seed: 6, configuration: .object(config))
        for layer in model.linears { layer.weight.value = layer.weight.value.converted(to: weights) }
        for dtype in [DType.f32, .bf16, .q8_0] {
            func hidden(_ sequences: [[Int32]], steps: Bool = false) -> [Float] {
                let caches = sequences.map { _ in model.makeCache(dtype) }
                let rounds = steps ? sequences[0].map { [[$0]] } : [sequences]
                return rounds.flatMap { round in
                    var batch = TokenBatch()
                    for (tokens, cache) in zip(round, caches) { batch.append(tokens, cache: cache) }
                    return model.hiddenStates(batch).values()
                }
            }
            let sequences: [[Int32]] = [[1, 2, 3], [4, 5], [6]]
            let together = hidden(sequences)
            expectEqual(together, sequences.flatMap { hidden([$0]) }, "\(dtype)")
            expectEqual(Array(together.prefix(3 * 64)), hidden([sequences[0]], steps: true), "\(dtype)")
            #expect(together.allSatisfy { $0.isFinite })
        }
    }

    @Test func olderConfigurationsSayTheSame() throws {
        let golden = try load("gemma3")
        var config = golden.configuration
        config["rope_parameters"] = nil
        config["layer_types"] = nil
        config["rope_theta"] = 50_000.0
        config["rope_local_base_freq"] = 1000.0
        config["rope_scaling"] = ["rope_type": "linear", "factor": 4.0]
        config["sliding_window_pattern"] = 3
        let model = try TestModels.tinyLlama(configuration: .object(config))
        try golden.expectLogits(of: model)
        // What is written says the same again
        try golden.expectLogits(of: TestModels.tinyLlama(configuration: model.configurationJSON))
        config["model_type"] = nil
        let nested: JSON = ["model_type": "gemma3", "text_config": .object(config), "vision_config": [:]]
        let text = try TestModels.tinyLlama(configuration: nested)
        try golden.expectLogits(of: text)
        #expect(text.configurationJSON["model_type"] == "gemma3_text" && text.facts.architecture == "gemma3_text")
    }

    @Test func whatFilesLeaveOutIsTheDefault() throws {
        let sizes: JSON = ["hidden_size": 2560, "intermediate_size": 10_240, "num_hidden_layers": 34]
        var config = try #require(sizes.object)
        config["rope_scaling"] = ["rope_type": "linear", "factor": 8.0]
        config["sliding_window"] = 1024
        let json: JSON = ["model_type": "gemma3", "text_config": .object(config)]
        let third = try GemmaConfiguration(json: json, source: "config.json")
        #expect(third.vocabularySize == 262_208 && third.headDim == 256 && third.kvHeadCount == 4)
        #expect(third.globalRotation == .init(base: 1_000_000, scaling: .linear(factor: 8)))
        #expect(third.localRotation == .init(base: 10_000, scaling: .none))
        #expect(third.windows.prefix(7) == [1024, 1024, 1024, 1024, 1024, nil, 1024] && third.logitSoftcap == nil)
        config = try #require(sizes.object)
        config["model_type"] = "gemma2"
        let second = try GemmaConfiguration(json: .object(config), source: "config.json")
        #expect(second.scoreSoftcap == 50 && second.logitSoftcap == 30 && second.windows.prefix(2) == [4096, nil])
        #expect(second.globalRotation == second.localRotation && second.globalRotation.base == 10_000)
        #expect(second.scoreScale == 1 / 16 && !second.normalizesQueriesAndKeys)
    }

    @Test func theEmbeddingsFactorIsRoundedAsTheTable() throws {
        let golden = try load("gemma3").golden
        let configuration = try GemmaConfiguration(json: try #require(golden["config"]), source: "golden")
        for (dtype, key) in [(DType.f32, "scale"), (.bf16, "scale_bf16"), (.q8_0, "scale")] {
            let model = try Gemma(configuration, Weights(TableIn(dtype: dtype)))
            #expect(model.inputEmbedding?.scale == Float(try #require(golden[key]?.double)), "\(dtype)")
        }
    }

    /// Deterministic weights with the embedding table in a format.
    private struct TableIn: WeightSource {
        let dtype: DType

        func contains(_ path: String) -> Bool { true }

        func weight(_ path: String, shape: [Int], _ initialization: Initialization) -> Tensor {
            let tensor = DeterministicWeights().weight(path, shape: shape, initialization)
            return path.contains("embed_tokens") ? tensor.converted(to: dtype) : tensor
        }
    }

    @Test func whatCannotBeReadIsRefused() throws {
        let config = try load("gemma3").configuration
        func refusal(_ changes: [String: JSON]) -> MoruError? {
            var changed = config
            for (key, value) in changes { changed[key] = value }
            return #expect(throws: MoruError.self) { try TestModels.tinyLlama(configuration: .object(changed)) }
        }
        #expect(refusal(["use_bidirectional_attention": true])?.code == .modelUnsupported)
        #expect(refusal(["attn_logit_softcapping": 50.0])?.message.contains("attn_logit_softcapping") == true)
        #expect(refusal(["layer_types": ["full_attention"]])?.message.contains("layer_types") == true)
        #expect(refusal(["final_logit_softcapping": -1.0])?.code == .modelConfiguration)
        #expect(refusal(["rope_parameters": ["rope_type": "linear", "factor": 2.0]])?.code == .modelConfiguration)
        #expect(refusal(["hidden_activation": "relu"])?.code == .modelUnsupported)
        #expect(refusal(["model_type": "gemma3"])?.message.contains("text_config") == true)
    }
}
