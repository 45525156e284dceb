import MoruBase
import MoruModels
import MoruNN
import MoruTensor
import MoruTestKit
import Testing

/// How published configurations of the Llama family are read and written.
@Suite struct ConfigurationTests {
    private func read(_ changes: JSON = [:]) throws -> LlamaConfiguration {
        var config = try #require(TestModels.tinyLlamaConfiguration.object)
        for (key, value) in changes.object?.members.map({ ($0.key, $0.value) }) ?? [] { config[key] = value }
        return try LlamaConfiguration(json: .object(config), source: "config.json")
    }

    private func without(_ keys: String...) throws -> LlamaConfiguration {
        var config = try #require(TestModels.tinyLlamaConfiguration.object)
        for key in keys { config[key] = nil }
        return try LlamaConfiguration(json: .object(config), source: "config.json")
    }

    @Test func absentAndNullKeysTakeTheDefaults() throws {
        let plain = try without("num_key_value_heads", "rope_theta", "tie_word_embeddings", "hidden_act")
        #expect(plain.kvHeadCount == 4 && plain.headDim == 8 && plain.ropeBase == 10_000 && !plain.tiesEmbeddings)
        let nulls = try read(["head_dim": nil, "rope_scaling": nil, "num_key_value_heads": nil, "sliding_window": nil])
        #expect(nulls.headDim == 8 && nulls.ropeScaling == .none && nulls.kvHeadCount == 4)
        #expect(try read(["head_dim": 16]).headDim == 16)
    }

    @Test func slidingWindowsOfEachMember() throws {
        let mistral: JSON = ["model_type": "mistral", "sliding_window": 4096]
        #expect(try read(mistral).windows == [4096, 4096])
        #expect(try read(["model_type": "mistral", "sliding_window": nil]).windows == [nil, nil])
        // transformers' default, where the key is absent
        #expect(try read(["model_type": "mistral"]).windows == [4096, 4096])
        #expect(try read(["sliding_window": 8]).windows == [nil, nil])
        let unused: JSON = ["model_type": "qwen2", "sliding_window": 32768, "use_sliding_window": false]
        #expect(try read(unused).windows == [nil, nil])
        let late: JSON = [
            "model_type": "qwen2", "sliding_window": 8, "use_sliding_window": true, "max_window_layers": 1,
        ]
        #expect(try read(late).windows == [nil, 8])
        let typed: JSON = [
            "model_type": "qwen3", "sliding_window": 8, "use_sliding_window": true,
            "layer_types": ["sliding_attention", "full_attention"],
        ]
        #expect(try read(typed).windows == [8, nil])
        for types in [["full_attention"], ["full_attention", "linear_attention"], [1, 2]] as [JSON] {
            let bad: JSON = [
                "model_type": "qwen3", "sliding_window": 8, "use_sliding_window": true, "layer_types": types,
            ]
            let error = #expect(throws: MoruError.self) { try read(bad) }
            #expect(error?.message.contains("layer_types") == true)
        }
    }

    @Test func rotaryScalingIsReadFromEachPlace() throws {
        let llama3: JSON = [
            "rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192,
        ]
        let expected = RotaryScaling.llama3(
            factor: 32, lowFrequencyFactor: 1, highFrequencyFactor: 4, originalContext: 8192)
        let older = try read(["rope_scaling": llama3, "rope_theta": 500_000.0])
        #expect(older.ropeScaling == expected && older.ropeBase == 500_000)
        var parameters = try #require(llama3.object)
        parameters["rope_theta"] = 500_000
        let newer = try read(["rope_parameters": .object(parameters), "rope_theta": nil])
        #expect(newer.ropeScaling == expected && newer.ropeBase == 500_000)
        #expect(try read(["rope_scaling": ["type": "linear", "factor": 2]]).ropeScaling == .linear(factor: 2))
        let plain: JSON = ["rope_type": "default", "rope_theta": 1_000_000]
        #expect(try read(["rope_parameters": plain]).ropeScaling == .none)
        #expect(try read(["rope_parameters": plain]).ropeBase == 1_000_000)
    }

    @Test func biasesOfEachMember() throws {
        let llama = try read(["attention_bias": true, "mlp_bias": true])
        #expect(llama.hasQKVBias && llama.hasOutputBias && llama.hasFeedForwardBias)
        let qwen2 = try read(["model_type": "qwen2", "attention_bias": true])
        #expect(qwen2.hasQKVBias && !qwen2.hasOutputBias)
        let mistral = try read(["model_type": "mistral", "attention_bias": true])
        #expect(!mistral.hasQKVBias)
        #expect(try read(["model_type": "qwen3"]).normalizesQueriesAndKeys)
    }

    @Test func whatIsWrittenReadsTheSame() throws {
        let configurations: [JSON] = [
            [:], ["attention_bias": true, "mlp_bias": true], ["rms_norm_eps": 1e-6, "rope_theta": 500_000.0],
            ["model_type": "mistral", "sliding_window": 16], ["model_type": "mistral", "sliding_window": nil],
            ["model_type": "qwen2", "sliding_window": 8, "use_sliding_window": true, "max_window_layers": 1],
            ["model_type": "qwen2", "sliding_window": 8, "use_sliding_window": false],
            ["model_type": "qwen3", "head_dim": 16],
            ["rope_scaling": ["rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32]],
            ["rope_parameters": ["rope_type": "linear", "factor": 4.0, "rope_theta": 20_000.0]],
        ]
        for changes in configurations {
            var first = try read(changes)
            var again = try LlamaConfiguration(json: first.json, source: "again")
            (first.original, again.original) = (JSONObject(), JSONObject())
            #expect(first == again, "\(changes.text())")
            first.original = JSONObject()
            var bare = try LlamaConfiguration(json: first.json, source: "bare")
            bare.original = JSONObject()
            #expect(first == bare, "\(changes.text())")
        }
        #expect(try read().json["rms_norm_eps"] == 1e-05)
    }
}

/// What GGUF files of architecture `llama` may hold, and `config.json` says otherwise.
@Suite struct CheckpointTypeTests {
    private func configuration(_ change: (inout LlamaConfiguration) -> Void) throws -> LlamaConfiguration {
        var result = try LlamaConfiguration(json: TestModels.tinyLlamaConfiguration, source: "tiny")
        result.original = JSONObject()
        change(&result)
        return result
    }

    @Test func windowsAndBiasesChooseTheMember() throws {
        let windows = try configuration { $0.windows = [8, 8] }
        #expect(windows.json["model_type"] == "mistral" && windows.json["sliding_window"] == 8)
        #expect(windows.json["architectures"] == ["MistralForCausalLM"])
        let biases = try configuration { $0.hasQKVBias = true }
        #expect(biases.json["model_type"] == "qwen2" && biases.json["attention_bias"] == nil)
        #expect(try configuration { _ in }.json["model_type"] == "llama")
    }

    @Test func factorsThatNoConfigurationSaysCannotBeSaved() throws {
        let scratch = try Scratch()
        let odd = try configuration { $0.ropeScaling = .perFrequency([1, 3, 2, 5]) }
        let tiny = try TestModels.tinyPretrained()
        let model = PretrainedModel(
            model: try Llama(odd, Weights(DeterministicWeights())), tokenizer: tiny.tokenizer, chatTemplate: nil,
            generationDefaults: tiny.generationDefaults, path: "odd.gguf", storageDescription: "", license: nil)
        let error = #expect(throws: MoruError.self) { try model.save(to: scratch.path + "/a") }
        #expect(error?.code == .modelConfiguration && error?.remedy != nil)
        #expect(try FileSystem.list(scratch.path).isEmpty)
    }
}

/// GGUF files that say what Moru does not do, or what cannot be.
@Suite struct GGUFConfigurationTests {
    /// The metadata and tensors of a small file of architecture `llama`, without a tokenizer.
    private func refusal(
        _ change: (inout [String: MetadataValue], inout [String: Tensor]) -> Void
    ) throws -> MoruError? {
        let scratch = try Scratch()
        var metadata: [String: MetadataValue] = [
            "general.architecture": .string("llama"), "llama.embedding_length": .int(8),
            "llama.feed_forward_length": .int(12), "llama.block_count": .int(1), "llama.attention.head_count": .int(2),
            "llama.context_length": .int(64), "llama.attention.layer_norm_rms_epsilon": .double(1e-5),
        ]
        var tensors: [String: Tensor] = [
            "token_embd.weight": .zeros([16, 8]), "output_norm.weight": .ones([8]),
            "blk.0.attn_norm.weight": .ones([8]),
            "blk.0.ffn_norm.weight": .ones([8]), "blk.0.ffn_gate.weight": .zeros([12, 8]),
            "blk.0.ffn_up.weight": .zeros([12, 8]), "blk.0.ffn_down.weight": .zeros([8, 12]),
        ]
        for name in ["q", "k", "v", "output"] { tensors["blk.0.attn_\(name).weight"] = .zeros([8, 8]) }
        change(&metadata, &tensors)
        let path = scratch.path + "/model.gguf"
        try GGUFWriter.write(
            metadata: metadata.sorted { $0.key < $1.key }.map { GGUFField($0.key, $0.value) },
            tensors: tensors.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }, to: path)
        let error = #expect(throws: MoruError.self) { try PretrainedModel.load(path) }
        #expect(error?.message.contains("model.gguf") == true && error?.remedy != nil, "\(String(describing: error))")
        return error
    }

    @Test func aFileWithoutATokenizerSaysSo() throws {
        let error = try refusal { _, _ in }
        #expect(error?.code == .tokenizerMalformed && error?.message.contains("tokenizer.ggml.tokens") == true)
    }

    @Test(arguments: ["mistral3", "qwen2vl", "rwkv7", "bert"]) func otherArchitecturesAreRefused(name: String) throws {
        let error = try refusal { metadata, _ in metadata["general.architecture"] = .string(name) }
        #expect(error?.code == .modelUnsupported && error?.message.contains(name) == true)
        #expect(error?.remedy?.contains("llama, qwen2, qwen3") == true)
    }

    @Test func metadataIsChecked() throws {
        #expect(try refusal { metadata, _ in metadata["general.architecture"] = nil }?.code == .modelConfiguration)
        #expect(try refusal { metadata, _ in metadata["general.type"] = .string("adapter") }?.code == .modelUnsupported)
        let experts = try refusal { metadata, _ in metadata["llama.expert_count"] = .int(8) }
        #expect(experts?.code == .modelConfiguration && experts?.message.contains("expert_used_count") == true)
        for (key, value) in [("shared_count", 1), ("gating_func", 2), ("weights_scale", 3)] {
            let error = try refusal { metadata, _ in
                metadata["llama.expert_count"] = .int(8)
                metadata["llama.expert_used_count"] = .int(2)
                metadata["llama.expert_\(key)"] = .int(value)
            }
            #expect(error?.code == .modelUnsupported && error?.message.contains(key) == true)
        }
        #expect(
            try refusal { metadata, _ in metadata["llama.rope.dimension_count"] = .int(2) }?.code == .modelUnsupported)
        let missing = try refusal { metadata, _ in metadata["llama.block_count"] = nil }
        #expect(missing?.code == .modelConfiguration && missing?.message.contains("llama.block_count") == true)
        let text = try refusal { metadata, _ in metadata["llama.embedding_length"] = .string("8") }
        #expect(text?.code == .modelConfiguration && text?.message.contains("llama.embedding_length") == true)
        let absurd = try refusal { metadata, _ in metadata["llama.block_count"] = .int(2_000_000_000) }
        #expect(absurd?.code == .modelConfiguration)
    }

    @Test func tensorsAreChecked() throws {
        let missing = try refusal { _, tensors in tensors["blk.0.ffn_up.weight"] = nil }
        #expect(missing?.code == .weightMissing && missing?.message.contains("blk.0.ffn_up.weight") == true)
        let shape = try refusal { _, tensors in tensors["blk.0.ffn_up.weight"] = .zeros([8, 12]) }
        #expect(shape?.code == .weightShape && shape?.message.contains("[12, 8]") == true)
        let biased = try refusal { _, tensors in tensors["blk.0.attn_k.bias"] = .ones([8]) }
        #expect(biased?.code == .weightUnexpected && biased?.message.contains("blk.0.attn_k.bias") == true)
        let table = try refusal { _, tensors in tensors["token_embd.weight"] = nil }
        #expect(table?.code == .weightMissing && table?.message.contains("token_embd.weight") == true)
        let factors = try refusal { _, tensors in tensors["rope_freqs.weight"] = .ones([3]) }
        #expect(factors?.code == .weightShape && factors?.message.contains("rope_freqs.weight") == true)
        let zero = try refusal { _, tensors in tensors["rope_freqs.weight"] = .zeros([2]) }
        #expect(zero?.code == .weightsNotFinite)
    }
}
