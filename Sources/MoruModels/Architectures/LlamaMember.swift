/// What a member of the Llama family does where its configuration leaves a key out, and which keys it reads at all.
struct LlamaMember: Sendable {
    /// Which layers have sliding windows.
    enum Windows: Sendable {
        /// None.
        case never
        /// All, unless the window is null; 4096 where it is absent.
        case always
        /// All, where there is one.
        case given
        /// All, where `use_sliding_window` says so.
        case used
        /// Those of `layer_types`, or from `max_window_layers` on, where `use_sliding_window` says so.
        case late
        /// Those of `layer_types`, or those without rotary positions, where `use_sliding_window` says so.
        case withoutPositions
    }

    /// The prefix of transformers' class.
    var className: String
    /// Whether `attention_bias` is read.
    var readsAttentionBias = false
    /// Whether `mlp_bias` is read.
    var readsFeedForwardBias = false
    /// The usual number of key and value heads; nil for as many as query heads.
    var kvHeadCount: Int?
    var contextLength = 2048
    var normEpsilon = 1e-6
    var ropeBase = 10_000.0
    var tiesEmbeddings = false
    /// The usual context before LongRoPE stretches it; nil for a member that LongRoPE does not stretch.
    var originalContext: Int?
    var windows = Windows.never
    /// How the mixtures of experts are called and described that take the feed-forward's place; nil for none.
    var experts: ExpertLayout?

    /// The members, by `model_type`.
    static let all: [String: LlamaMember] = [
        "llama": LlamaMember(className: "Llama", readsAttentionBias: true, readsFeedForwardBias: true),
        "mistral": LlamaMember(className: "Mistral", kvHeadCount: 8, windows: .always),
        "mixtral": LlamaMember(
            className: "Mixtral", kvHeadCount: 8, contextLength: 131_072, normEpsilon: 1e-5, ropeBase: 1_000_000,
            windows: .given, experts: .mixtral),
        "qwen2": LlamaMember(className: "Qwen2", kvHeadCount: 32, windows: .late),
        "qwen3": LlamaMember(className: "Qwen3", readsAttentionBias: true, kvHeadCount: 32, windows: .late),
        "qwen3_moe": LlamaMember(
            className: "Qwen3Moe", readsAttentionBias: true, kvHeadCount: 4, contextLength: 32_768, windows: .used,
            experts: .qwen3MoE),
        "granite": LlamaMember(className: "Granite", readsAttentionBias: true, readsFeedForwardBias: true),
        "smollm3": LlamaMember(
            className: "SmolLM3", readsAttentionBias: true, readsFeedForwardBias: true, kvHeadCount: 4,
            contextLength: 32_768, ropeBase: 2_000_000, tiesEmbeddings: true, windows: .withoutPositions),
        "phi3": LlamaMember(
            className: "Phi3", contextLength: 4096, normEpsilon: 1e-5, originalContext: 4096, windows: .given),
        "olmo2": LlamaMember(className: "Olmo2", readsAttentionBias: true, normEpsilon: 1e-5),
    ]
}

/// The numbers that Granite multiplies its activations by (Granite Team, 2024); the other members have none.
public struct LlamaMultipliers: Sendable, Hashable {
    /// The embeddings' factor.
    public var embedding: Float = 1
    /// The factor of what each half of a block adds to the residual stream.
    public var residual: Float = 1
    /// The factor of attention scores; nil for `1 / sqrt(headDim)`.
    public var scores: Float?
    /// What logits are divided by.
    public var logitsDivisor: Float = 1

    /// No multipliers.
    public init() {}
}

extension LlamaConfiguration {
    /// What attention scores are multiplied by.
    var scoreScale: Float { multipliers.scores ?? 1 / Float(headDim).squareRoot() }

    /// The facts of a model of this configuration.
    var facts: TextModelFacts {
        TextModelFacts(
            architecture: modelType, vocabularySize: vocabularySize, contextLength: contextLength,
            layerCount: layerCount, hiddenSize: hiddenSize, kvHeads: kvHeadCount, headDim: headDim)
    }
}
