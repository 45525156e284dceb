import MoruBase
import MoruModels
import MoruNN
import MoruTensor
import MoruTestKit
import Testing

/// A pass of few rows computes what the operations of the layers compute, bit for bit.
@Suite struct DecoderPassTests {
    /// An adapter that scales layers, by 1, leads through the layers' own operations.
    private func hidden(
        _ model: any LanguageModel, _ sequences: [[[Int32]]], _ adapter: (any Adapter)?, _ dtype: DType
    ) -> [[Float]] {
        let caches = sequences.map { _ in model.makeCache(dtype) }
        return sequences[0].indices.map { step in
            var batch = TokenBatch()
            for (cache, sequence) in zip(caches, sequences) {
                batch.append(sequence[step], cache: cache, adapter: adapter)
            }
            return model.hiddenStates(batch).values()
        }
    }

    @Test(
        "of any format of weights and caches, with biases, head norms, windows, multipliers, experts and layers without positions",
        arguments: [DType.f32, .bf16, .q8_0, .q4_1], ["qwen3", "mistral", "granite", "smollm3", "qwen3_moe"])
    func equalsOperations(dtype: DType, member: String) throws {
        var configuration = TestModels.tinyLlamaConfiguration.object ?? JSONObject()
        configuration["model_type"] = .string(member)
        configuration["head_dim"] = 32
        configuration["attention_bias"] = true
        configuration["sliding_window"] = 5
        configuration["no_rope_layers"] = [1, 0]
        for (key, number) in [("num_experts", 5), ("num_experts_per_tok", 2), ("moe_intermediate_size", 64)] {
            configuration[key] = .int(number)
        }
        for (key, number) in [
            ("embedding_multiplier", 6), ("residual_multiplier", 0.22), ("attention_multiplier", 0.25),
            ("logits_scaling", 3),
        ] { configuration[key] = .double(number) }
        try expectEqualPasses(.object(configuration), dtype)
    }

    @Test(
        "of Gemma, with caps, norms after and angles by layer", arguments: [DType.f32, .bf16, .q8_0, .q4_1],
        TestModels.tinyGemmaConfigurations)
    func equalsOperationsOfGemma(dtype: DType, configuration: JSON) throws {
        try expectEqualPasses(configuration, dtype)
    }

    private func expectEqualPasses(_ configuration: JSON, _ dtype: DType) throws {
        let model = try TestModels.tinyLlama(seed: 5, configuration: configuration)
        for layer in model.linears where layer.inputs % dtype.blockElements == 0 {
            layer.weight.value = layer.weight.value.converted(to: dtype)
        }
        let adapter = try IA3Adapter(
            IA3Configuration(targets: ["v_proj"], inputTargets: []), adapting: model.linears)
        let sequences: [[[Int32]]] = [
            [[1, 2, 3, 4], [5], [6, 7], [8]], [[9], [10, 11], [], [12]], [[13, 14], [15], [16, 17, 18], [19]],
        ]
        for cache in [DType.f32, .bf16, .q8_0] {
            let plain = hidden(model, sequences, nil, cache)
            let operations = hidden(model, sequences, adapter, cache)
            #expect(plain == operations, "\(dtype), cache \(cache)")
            let isFinite = plain.joined().allSatisfy { $0.isFinite }
            #expect(isFinite)
        }
    }

    @Test("a row among others is the row alone")
    func rowsAreIndependent() throws {
        let model = try TestModels.tinyLlama(seed: 6)
        let together = hidden(model, [[[1, 2, 3]], [[4, 5]], [[6]]], nil, .bf16)[0]
        let apart = [[1, 2, 3], [4, 5], [6]].map { hidden(model, [[$0]], nil, .bf16)[0] }
        #expect(together == Array(apart.joined()))
        let tokenByToken = hidden(model, [[[1], [2], [3]]], nil, .bf16)
        #expect(apart[0] == Array(tokenByToken.joined()))
    }
}
