import MoruBase
import MoruModels
import MoruNN
import MoruTestKit
import Testing

/// The refusal of architectures that Moru has no definition of, from configurations as their models come with.
@Suite struct UnknownArchitectureTests {
    private func refusal(_ config: JSON) throws -> String {
        let error = #expect(throws: MoruError.self) {
            try LanguageModels.build(config, source: "config.json", Weights(RandomWeights(seed: 1)))
        }
        #expect(error?.code == .modelUnsupported)
        #expect(error?.message.contains(config["model_type"]?.string ?? "") == true)
        let remedy = try #require(error?.remedy)
        #expect(remedy.contains("supported are llama, "))
        return remedy
    }

    private func expect(
        _ config: JSON, nearest: String, differing words: [String], notDiffering others: [String] = [],
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        let remedy = try refusal(config)
        #expect(
            remedy.contains("the nearest supported one is \(nearest);"), "\(remedy)", sourceLocation: sourceLocation)
        for word in words { #expect(remedy.contains(word), "\(word): \(remedy)", sourceLocation: sourceLocation) }
        for word in others { #expect(!remedy.contains(word), "\(word): \(remedy)", sourceLocation: sourceLocation) }
        // A difference for each clause, and no more
        #expect(remedy.components(separatedBy: "this one ").count - 1 == words.count, sourceLocation: sourceLocation)
    }

    @Test func stableLM() throws {
        try expect(
            [
                "model_type": "stablelm", "vocab_size": 50304, "hidden_size": 2560, "intermediate_size": 6912,
                "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 32, "hidden_act": "silu",
                "layer_norm_eps": 1e-5, "partial_rotary_factor": 0.25, "rope_theta": 10000, "use_qkv_bias": false,
                "use_parallel_residual": false, "tie_word_embeddings": false,
            ], nearest: "phi3", differing: ["normalises by mean and variance (layer_norm_eps)"],
            notDiffering: ["partial_rotary_factor"])
    }

    @Test func cohere() throws {
        try expect(
            [
                "model_type": "cohere", "vocab_size": 256000, "hidden_size": 8192, "intermediate_size": 22528,
                "num_hidden_layers": 40, "num_attention_heads": 64, "num_key_value_heads": 64, "hidden_act": "silu",
                "layer_norm_eps": 1e-5, "rope_theta": 8_000_000, "logit_scale": 0.0625, "use_qk_norm": false,
            ], nearest: "gpt_neox",
            differing: ["has a gated feed-forward (hidden_act)", "scales logits (logit_scale)"],
            notDiffering: ["layer_norm_eps", "side by side"])
    }

    @Test func falcon() throws {
        try expect(
            [
                "model_type": "falcon", "vocab_size": 65024, "hidden_size": 4544, "num_hidden_layers": 32,
                "num_attention_heads": 71, "alibi": false, "bias": false, "layer_norm_epsilon": 1e-5,
                "multi_query": true, "new_decoder_architecture": false, "parallel_attn": true, "activation": "gelu",
            ], nearest: "gpt_neox", differing: ["shares keys and values between heads (multi_query)"])
    }

    @Test func bloom() throws {
        try expect(
            [
                "model_type": "bloom", "vocab_size": 250880, "hidden_size": 1024, "n_layer": 24, "n_head": 16,
                "layer_norm_epsilon": 1e-5, "apply_residual_connection_post_layernorm": false,
            ], nearest: "gpt_neox", differing: ["lowers scores with the distance (ALiBi)"])
    }

    @Test func phi2() throws {
        let remedy = try refusal([
            "model_type": "phi", "vocab_size": 51200, "hidden_size": 2560, "intermediate_size": 10240,
            "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 32, "hidden_act": "gelu_new",
            "layer_norm_eps": 1e-5, "partial_rotary_factor": 0.4, "rope_theta": 10000, "qk_layernorm": false,
        ])
        #expect(remedy.contains("the nearest supported one is gpt_neox; nothing that the configuration says differs"))
    }

    @Test func deepSeekV3() throws {
        try expect(
            [
                "model_type": "deepseek_v3", "hidden_size": 7168, "num_attention_heads": 128, "n_routed_experts": 256,
                "num_key_value_heads": 128, "kv_lora_rank": 512, "q_lora_rank": 1536, "hidden_act": "silu",
                "rms_norm_eps": 1e-6, "rope_theta": 10000, "num_experts_per_tok": 8,
            ],
            nearest: LanguageModels.architectures.contains("mixtral") ? "mixtral" : "llama",
            differing: ["compresses keys and values (MLA) (kv_lora_rank)"]
                + (LanguageModels.architectures.contains("mixtral")
                    ? [] : ["routes tokens to experts (n_routed_experts)"]))
    }

    @Test func mamba() throws {
        try expect(
            [
                "model_type": "mamba", "hidden_size": 768, "state_size": 16, "num_hidden_layers": 32,
                "conv_kernel": 4, "expand": 2, "layer_norm_epsilon": 1e-5, "hidden_act": "silu", "use_bias": false,
            ], nearest: "moru_recurrent",
            differing: ["carries the state of a state-space model or linear attention (state_size)"])
    }

    @Test func nemotron() throws {
        try expect(
            [
                "model_type": "nemotron", "hidden_size": 6144, "num_attention_heads": 48, "num_key_value_heads": 8,
                "hidden_act": "relu2", "norm_eps": 1e-5, "partial_rotary_factor": 0.5, "rope_theta": 10000,
            ], nearest: "gpt_neox",
            differing: ["activates with relu2 (hidden_act)", "shares keys and values between heads"])
    }

    @Test func modelsThatReadMoreThanText() throws {
        let remedy = try refusal([
            "model_type": "llava",
            "text_config": [
                "model_type": "llama", "hidden_size": 4096, "num_attention_heads": 32, "num_key_value_heads": 32,
                "rms_norm_eps": 1e-5, "hidden_act": "silu", "rope_theta": 10000,
            ], "vision_config": ["hidden_size": 1024],
        ])
        #expect(
            remedy.contains("nearest supported one is llama; this one reads more than text (text_config)"), "\(remedy)")
    }

    @Test func aMisspeltNameIsGuessed() throws {
        var config = try #require(TestModels.tinyLlamaConfiguration.object)
        config["model_type"] = "lama"
        let remedy = try refusal(.object(config))
        #expect(remedy.contains("the name most like it is llama") && remedy.contains("one is llama; nothing"))
    }
}
