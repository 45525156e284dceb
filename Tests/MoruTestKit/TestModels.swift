import MoruBase
import MoruModels
import MoruNN

/// Tiny models for tests.
public enum TestModels {
    /// The configuration of a two-layer Llama with grouped queries and tied embeddings.
    public static let tinyLlamaConfiguration: JSON = [
        "model_type": "llama", "vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 128, "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0, "tie_word_embeddings": true, "hidden_act": "silu",
    ]

    /// The configuration of a two-layer mixture of experts, sizes in whole blocks of 32.
    public static let tinyMixtureConfiguration: JSON = [
        "model_type": "qwen3_moe", "vocab_size": 64, "hidden_size": 32, "intermediate_size": 64,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 128,
        "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": true, "hidden_act": "silu",
        "num_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "norm_topk_prob": true,
    ]

    /// The configurations of tiny models of Gemma 2, with caps that scores and logits reach, and Gemma 3.
    public static let tinyGemmaConfigurations: [JSON] = [
        [
            "model_type": "gemma2", "vocab_size": 64, "hidden_size": 32, "intermediate_size": 64,
            "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32,
            "max_position_embeddings": 128, "sliding_window": 9, "attn_logit_softcapping": 1.0,
            "final_logit_softcapping": 3.0,
        ],
        [
            "model_type": "gemma3_text", "vocab_size": 64, "hidden_size": 32, "intermediate_size": 64,
            "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 1, "head_dim": 32,
            "max_position_embeddings": 128, "sliding_window": 9, "sliding_window_pattern": 3,
        ],
    ]

    /// A tiny Llama, or what else the configuration says, with deterministic weights, or random ones of a seed.
    ///
    /// - Parameter contextLength: The most positions; nil for what the configuration says.
    /// - Throws: What building the model throws.
    public static func tinyLlama(
        seed: UInt64? = nil, contextLength: Int? = nil, configuration: JSON = tinyLlamaConfiguration
    ) throws -> any LanguageModel {
        var configuration = configuration
        if let contextLength, var object = configuration.object {
            object["max_position_embeddings"] = .int(contextLength)
            configuration = .object(object)
        }
        let source: any WeightSource = seed.map { RandomWeights(seed: $0) } ?? DeterministicWeights()
        return try LanguageModels.build(configuration, source: "tiny", Weights(source))
    }
}
