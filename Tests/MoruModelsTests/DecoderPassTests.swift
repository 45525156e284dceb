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

    private func convertWeights(of model: any LanguageModel, to dtype: DType) {
        for layer in model.linears where layer.inputs % dtype.blockElements == 0 {
            layer.weight.value = layer.weight.value.converted(to: dtype)
        }
    }

    private func expectEqualPasses(_ configuration: JSON, _ dtype: DType) throws {
        let model = try TestModels.tinyLlama(seed: 5, configuration: configuration)
        convertWeights(of: model, to: dtype)
        let adapter = try IA3Adapter(
            IA3Configuration(targets: ["v_proj"], inputTargets: []), adapting: model.linears)
        let sequences: [[[Int32]]] = [
            [[1, 2, 3, 4], [5], [6, 7], [8]], [[9], [10, 11], [], [12]], [[13, 14], [15], [16, 17, 18], [19]],
        ]
        for cache in [DType.f32, .bf16, .q8_0] {
            let plain = hidden(model, sequences, nil, cache)
            let operations = hidden(model, sequences, adapter, cache)
            expectEqual(plain, operations, "\(dtype), cache \(cache)")
            let isFinite = plain.joined().allSatisfy { $0.isFinite }
            #expect(isFinite)
        }
    }

    @Test("a row among others is the row alone")
    func rowsAreIndependent() throws {
        let model = try TestModels.tinyLlama(seed: 6)
        let together = hidden(model, [[[1, 2, 3]], [[4, 5]], [[6]]], nil, .bf16)[0]
        let apart = [[1, 2, 3], [4, 5], [6]].map { hidden(model, [[$0]], nil, .bf16)[0] }
        expectEqual(together, Array(apart.joined()))
        let tokenByToken = hidden(model, [[[1], [2], [3]]], nil, .bf16)
        expectEqual(apart[0], Array(tokenByToken.joined()))
    }

    private func lowRank(_ model: any LanguageModel, rank: Int, targets: [String], seed: UInt64) throws -> LoRAAdapter {
        let adapter = try LoRAAdapter(
            LoRAConfiguration(rank: rank, targets: targets), adapting: model.linears, seed: seed)
        move(adapter, seed: seed)
        return adapter
    }

    private func move(_ adapter: LoRAAdapter, seed: UInt64) {
        var random = RandomGenerator(seed: seed)
        for (_, pair) in adapter.pairs.sorted(by: { $0.key < $1.key }) {
            pair.b.value = .normal(pair.b.value.shape, standardDeviation: 0.3, using: &random)
        }
    }

    /// The states of single tokens, each of a sequence of its own with an adapter or none.
    private func states(
        _ model: any LanguageModel, _ adapters: [(any Adapter)?]
    ) -> [[Float]] {
        var batch = TokenBatch()
        for (index, adapter) in adapters.enumerated() {
            batch.append([Int32(index + 3)], cache: model.makeCache(.bf16), adapter: adapter)
        }
        let hidden = model.hiddenStates(batch)
        return adapters.indices.map { hidden.rows($0..<$0 + 1).values() }
    }

    @Test(
        "a row with a low-rank update is the same alone, among others and by the layers' operations",
        arguments: [DType.f32, .bf16, .q8_0, .q4_1], [["q_proj", "v_proj"], ["o_proj", "gate_proj", "down_proj"]])
    func updatedRowsAreIndependent(dtype: DType, targets: [String]) throws {
        let model = try TestModels.tinyLlama(seed: 7)
        convertWeights(of: model, to: dtype)
        let first = try lowRank(model, rank: 8, targets: targets, seed: 1)
        let second = try lowRank(model, rank: 11, targets: targets, seed: 2)
        // An adapter that scales layers leads through the layers' own operations
        let scales = try IA3Adapter(
            IA3Configuration(targets: ["v_proj"], inputTargets: []), adapting: model.linears)
        let adapters: [(any Adapter)?] = [first, first, nil, second, second, second, first]
        let together = states(model, adapters)
        expectEqual(states(model, adapters + [scales]).dropLast(), together[...])
        let plain = states(model, adapters.map { _ in nil })
        for (index, adapter) in adapters.enumerated() {
            var others: [(any Adapter)?] = Array(repeating: nil, count: index + 1)
            others[index] = adapter
            expectEqual(states(model, others)[index], together[index], "row \(index)")
            #expect((plain[index] == together[index]) == (adapter == nil), "row \(index)")
        }
    }

    @Test("updates that move, and models whose weights do, leave no copies behind", arguments: [DType.f32, .q4_1])
    func movedUpdatesAreSeen(dtype: DType) throws {
        func model(_ dtype: DType) throws -> any LanguageModel {
            let model = try TestModels.tinyLlama(seed: 8)
            convertWeights(of: model, to: dtype)
            return model
        }
        let (one, other) = (try model(dtype), try model(dtype))
        let adapter = try lowRank(one, rank: 4, targets: ["q_proj", "up_proj"], seed: 1)
        func fresh(_ seed: UInt64) throws -> [[Float]] {
            let model = try model(dtype)
            let adapter = try lowRank(model, rank: 4, targets: ["q_proj", "up_proj"], seed: 1)
            move(adapter, seed: seed)
            return states(model, [adapter])
        }
        let before = states(one, [adapter])
        #expect(try before == fresh(1) && before == states(other, [adapter]))
        move(adapter, seed: 2)
        try expectEqual(states(one, [adapter]), fresh(2))
        #expect(states(other, [adapter]) == states(one, [adapter]) && states(one, [adapter]) != before)
        // In place, as optimizers do it
        for pair in adapter.pairs.values { pair.b.update { $0 = $0 * 2 } }
        let doubled = states(one, [adapter])
        #expect(try doubled != fresh(2))
        for pair in adapter.pairs.values {
            pair.b.update { value in
                value.makeUnique()
                for index in 0..<value.count { value.floats[index] /= 2 }
            }
        }
        try expectEqual(states(one, [adapter]), fresh(2))
        convertWeights(of: one, to: .q8_0)
        let requantised = states(one, [adapter])
        convertWeights(of: other, to: .q8_0)
        expectEqual(requantised, states(other, [adapter]))
    }
}
