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

    /// A tiny Llama with deterministic weights, or random ones of a seed.
    ///
    /// - Throws: What building the model throws.
    public static func tinyLlama(
        seed: UInt64? = nil, configuration: JSON = tinyLlamaConfiguration
    ) throws -> any LanguageModel {
        let source: any WeightSource = seed.map { RandomWeights(seed: $0) } ?? DeterministicWeights()
        return try LanguageModels.build(configuration, source: "tiny", Weights(source))
    }
}
