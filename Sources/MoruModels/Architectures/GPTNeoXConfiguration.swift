import MoruBase
import MoruTensor

/// The configuration of GPT-NeoX (Black et al., 2022) and Pythia, in the keys of its `config.json`.
public struct GPTNeoXConfiguration: Sendable, Hashable {
    /// Token ids run from 0 to below this.
    public var vocabularySize: Int
    /// Elements of a hidden state.
    public var hiddenSize: Int
    /// Elements between the feed-forward's two projections.
    public var intermediateSize: Int
    /// Blocks.
    public var layerCount: Int
    /// Heads; divides ``hiddenSize``.
    public var headCount: Int
    /// The most positions that the model was made for.
    public var contextLength: Int
    /// What the normalisations add to the variance.
    public var normEpsilon: Float
    /// The feed-forward's activation function.
    public var activation: Activation
    /// The base of the rotary frequencies.
    public var ropeBase: Double
    /// How the rotary frequencies are stretched.
    public var ropeScaling: RotaryScaling
    /// How many elements of a head, from the first on, are turned by its position; even.
    public var rotatedDim: Int
    /// Whether attention and feed-forward read the same residual stream, rather than one after the other.
    public var isParallel: Bool
    /// Whether the projections of attention have biases.
    public var hasAttentionBias: Bool
    /// Whether the output projection is the embedding table.
    public var tiesEmbeddings: Bool
    /// The configuration as it was read, which saving carries over.
    public var original: JSONObject

    static let modelType = "gpt_neox"

    /// Elements of a head.
    var headDim: Int { hiddenSize / headCount }

    /// Reads `config.json`.
    ///
    /// - Throws: ``MoruError/Code/modelConfiguration`` or ``MoruError/Code/modelUnsupported``, naming the key.
    public init(json: JSON, source: String) throws(MoruError) {
        let reader = ConfigurationReader(json: json, source: source)
        vocabularySize = try reader.size("vocab_size", default: 50432)
        hiddenSize = try reader.size("hidden_size", default: 6144)
        intermediateSize = try reader.size("intermediate_size", default: 24576)
        layerCount = try reader.size("num_hidden_layers", default: 44)
        headCount = try reader.size("num_attention_heads", default: 64)
        contextLength = try reader.size("max_position_embeddings", default: 2048)
        normEpsilon = Float(try reader.positive("layer_norm_eps", default: 1e-5))
        activation = try reader.activation("hidden_act", default: "gelu")
        isParallel = try reader.flag("use_parallel_residual", default: true)
        hasAttentionBias = try reader.flag("attention_bias", default: true)
        tiesEmbeddings = try reader.flag("tie_word_embeddings", default: false)
        original = json.object ?? JSONObject()
        try LlamaConfiguration.refuseAbsurd(layerCount: layerCount, source: source)
        let rotary = try reader.rotary(
            baseKey: "rotary_emb_base", fractionKey: "rotary_pct", defaultFraction: 0.25, contextLength: contextLength)
        (ropeBase, ropeScaling) = (rotary.base, rotary.scaling)
        rotatedDim = rotary.rotatedDim(headDim: hiddenSize / headCount)
        try validate(source: source)
    }

    /// Reads the metadata of a GGUF file.
    ///
    /// - Throws: ``MoruError/Code/modelConfiguration``, naming the key.
    init(gguf file: GGUFFile) throws(MoruError) {
        let reader = GGUFConfigurationReader(file: file, prefix: "gptneox")
        hiddenSize = try reader.size("embedding_length")
        intermediateSize = try reader.size("feed_forward_length")
        layerCount = try reader.size("block_count")
        headCount = try reader.size("attention.head_count")
        contextLength = try reader.size("context_length")
        try reader.refuse("attention.head_count_kv", unless: headCount)
        try LlamaConfiguration.refuseAbsurd(layerCount: layerCount, source: file.path)
        normEpsilon = Float(try reader.number("attention.layer_norm_epsilon", default: 1e-5))
        activation = .gelu
        isParallel = try reader.flag("use_parallel_residual", default: true)
        ropeBase = try reader.number("rope.freq_base", default: 10_000)
        rotatedDim = try reader.size("rope.dimension_count", default: max(1, hiddenSize / headCount))
        ropeScaling = try reader.ropeScaling(contextLength: contextLength, headDim: rotatedDim, base: ropeBase)
        vocabularySize = try file.vocabularySize()
        hasAttentionBias = file.info("blk.0.attn_qkv.bias") != nil
        tiesEmbeddings = file.info("output.weight") == nil
        original = JSONObject()
        try validate(source: file.path)
    }

    private func validate(source: String) throws(MoruError) {
        func require(_ condition: Bool, _ message: String) throws(MoruError) {
            if condition { return }
            throw MoruError(
                .modelConfiguration, "\(source): \(message)", remedy: "restore the file that came with the model")
        }
        try require(
            hiddenSize % headCount == 0,
            "hidden_size \(hiddenSize) is not a multiple of num_attention_heads \(headCount)")
        try require(
            rotatedDim % 2 == 0 && 2...max(2, headDim) ~= rotatedDim,
            "rotary positions turn \(rotatedDim) of a head's \(headDim) elements, not a number of pairs")
        try require(normEpsilon > 0 && normEpsilon.isFinite, "layer_norm_eps \(normEpsilon) is not positive and finite")
        try require(ropeBase > 1, "rotary_emb_base \(ropeBase) is not above 1")
    }

    /// The configuration as `config.json`, in the keys that transformers reads.
    public var json: JSON {
        var result = original
        result["architectures"] = ["GPTNeoXForCausalLM"]
        result["model_type"] = .string(Self.modelType)
        result["vocab_size"] = .int(vocabularySize)
        result["hidden_size"] = .int(hiddenSize)
        result["intermediate_size"] = .int(intermediateSize)
        result["num_hidden_layers"] = .int(layerCount)
        result["num_attention_heads"] = .int(headCount)
        result["max_position_embeddings"] = .int(contextLength)
        result["layer_norm_eps"] = .shortest(normEpsilon)
        result["hidden_act"] = original["hidden_act"] ?? .string(activation.configurationName)
        result["use_parallel_residual"] = .bool(isParallel)
        result["attention_bias"] = .bool(hasAttentionBias)
        result["tie_word_embeddings"] = .bool(tiesEmbeddings)
        if original["rope_parameters"] == nil {
            result["rotary_emb_base"] = .double(ropeBase)
            result["rotary_pct"] = original["rotary_pct"] ?? .double(Double(rotatedDim) / Double(headDim))
            result["rope_scaling"] = ropeScaling.json
        }
        return .object(result)
    }
}
