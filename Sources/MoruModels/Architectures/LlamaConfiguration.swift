import MoruBase

/// The configuration of the Llama family: Llama 2 and 3, SmolLM2, Mistral, Qwen 2, 2.5 and 3.
///
/// The members differ in a few places only, each a field here: Mistral's sliding window, the biases of Qwen 2, the
/// normalised queries and keys of Qwen 3.
public struct LlamaConfiguration: Sendable, Hashable {
    /// The member of the family, as `model_type` names it: `llama`, `mistral`, `qwen2` or `qwen3`.
    public var modelType: String
    /// Token ids run from 0 to below this.
    public var vocabularySize: Int
    /// Elements of a hidden state.
    public var hiddenSize: Int
    /// Elements between the feed-forward's two projections.
    public var intermediateSize: Int
    /// Blocks.
    public var layerCount: Int
    /// Query heads.
    public var headCount: Int
    /// Key and value heads; divides ``headCount``.
    public var kvHeadCount: Int
    /// Elements of a head; even.
    public var headDim: Int
    /// The most positions that the model was made for.
    public var contextLength: Int
    /// What the normalisations add to the mean square.
    public var normEpsilon: Float
    /// The base of the rotary frequencies.
    public var ropeBase: Double
    /// How the rotary frequencies are stretched.
    public var ropeScaling: RotaryScaling
    /// Whether the output projection is the embedding table.
    public var tiesEmbeddings: Bool
    /// Whether the query, key and value projections have biases.
    public var hasQKVBias: Bool
    /// Whether the output projection of attention has a bias.
    public var hasOutputBias: Bool
    /// Whether the feed-forward's projections have biases.
    public var hasFeedForwardBias: Bool
    /// Whether each head's queries and keys are normalised (Qwen 3).
    public var normalizesQueriesAndKeys: Bool
    /// The sliding window of each layer; nil sees everything.
    public var windows: [Int?]
    /// The configuration as it was read, which saving carries over.
    public var original: JSONObject

    /// The members of the family.
    static let modelTypes = ["llama", "mistral", "qwen2", "qwen3"]

    /// Reads `config.json`.
    ///
    /// - Throws: ``MoruError/Code/modelConfiguration`` or ``MoruError/Code/modelUnsupported``, naming the key.
    public init(json: JSON, source: String) throws(MoruError) {
        let reader = ConfigurationReader(json: json, source: source)
        modelType = try reader.text("model_type") ?? "llama"
        vocabularySize = try reader.size("vocab_size")
        hiddenSize = try reader.size("hidden_size")
        intermediateSize = try reader.size("intermediate_size")
        layerCount = try reader.size("num_hidden_layers")
        headCount = try reader.size("num_attention_heads")
        kvHeadCount = try reader.size("num_key_value_heads", default: headCount)
        headDim = try reader.size("head_dim", default: max(1, hiddenSize / headCount))
        contextLength = try reader.size("max_position_embeddings", default: 2048)
        normEpsilon = Float(try reader.number("rms_norm_eps", default: 1e-6))
        let rope = json["rope_parameters"] ?? json["rope_scaling"]
        ropeBase =
            try rope?["rope_theta"] == nil
            ? reader.number("rope_theta", default: 10_000)
            : ConfigurationReader(json: rope ?? .null, source: "\(source), rope_parameters").number("rope_theta")
        ropeScaling = try RotaryScaling(json: rope, contextLength: contextLength, source: source)
        tiesEmbeddings = try reader.flag("tie_word_embeddings", default: false)
        let attentionBias = try reader.flag("attention_bias", default: false)
        hasQKVBias = attentionBias || modelType == "qwen2"
        hasOutputBias = attentionBias
        hasFeedForwardBias = try reader.flag("mlp_bias", default: false)
        normalizesQueriesAndKeys = modelType == "qwen3"
        windows = try Self.windows(reader, modelType: modelType, layerCount: layerCount)
        original = json.object ?? JSONObject()
        if let activation = try reader.text("hidden_act"), activation != "silu" {
            throw MoruError(
                .modelUnsupported, "\(source): hidden_act \"\(activation)\" is not supported in the \(modelType) family",
                remedy: "the family uses silu")
        }
        try validate(source: source)
    }

    private static func windows(
        _ reader: ConfigurationReader, modelType: String, layerCount: Int
    ) throws(MoruError) -> [Int?] {
        let isUsed = try reader.flag("use_sliding_window", default: modelType == "mistral")
        guard modelType != "llama", isUsed, reader.json["sliding_window"] != nil else {
            return Array(repeating: nil, count: layerCount)
        }
        let window = try reader.size("sliding_window")
        if let types = reader.json["layer_types"]?.array {
            guard types.count == layerCount else {
                throw reader.unexpected("layer_types", .array(types), "a list of \(layerCount) layer types")
            }
            return types.map { $0.string == "sliding_attention" ? window : nil }
        }
        // Qwen 2 and 3 slide only from layer max_window_layers on
        let first = modelType == "mistral" ? 0 : reader.json["max_window_layers"]?.int ?? 28
        return (0..<layerCount).map { $0 >= first ? window : nil }
    }

    func validate(source: String) throws(MoruError) {
        func require(_ condition: Bool, _ message: String) throws(MoruError) {
            if !condition { throw MoruError(.modelConfiguration, "\(source): \(message)") }
        }
        try require(
            headCount % kvHeadCount == 0,
            "num_attention_heads \(headCount) is no multiple of num_key_value_heads \(kvHeadCount)")
        try require(headDim % 2 == 0, "head_dim \(headDim) is odd, rotary embedding needs pairs")
        try require(normEpsilon > 0, "rms_norm_eps \(normEpsilon) is not positive")
        try require(ropeBase > 1, "rope_theta \(ropeBase) is not above 1")
        try require(layerCount <= 10_000, "num_hidden_layers \(layerCount) is absurd")
    }
}
