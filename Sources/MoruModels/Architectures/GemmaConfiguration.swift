import MoruBase
import MoruTensor

/// The configuration of Gemma 2 and of the text part of Gemma 3.
///
/// Both normalise before and after attention and feed-forward, and let most layers see a window of positions only. Gemma
/// 2 caps scores and logits; Gemma 3 normalises queries and keys instead, and turns the layers with a window by
/// frequencies of their own.
public struct GemmaConfiguration: Sendable, Hashable {
    /// The frequencies of rotary positions.
    public struct Rotation: Sendable, Hashable {
        /// Their base.
        public var base: Double
        /// How they are stretched.
        public var scaling: RotaryScaling
    }

    /// The member of the family, as `model_type` names it: `gemma2` or `gemma3_text`.
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
    /// The activation of the feed-forward's gate.
    public var activation: Activation
    /// Scores are divided by the square root of this; not always the elements of a head.
    public var queryScalar: Double
    /// What attention scores are capped at (Gemma 2); nil for no cap.
    public var scoreSoftcap: Float?
    /// What logits are capped at (Gemma 2); nil for no cap.
    public var logitSoftcap: Float?
    /// The sliding window of each layer; nil sees everything.
    public var windows: [Int?]
    /// The rotation in layers that see everything.
    public var globalRotation: Rotation
    /// The rotation in layers with a window.
    public var localRotation: Rotation
    /// Whether the projections of attention have biases.
    public var hasAttentionBias: Bool
    /// Whether the output projection is the embedding table.
    public var tiesEmbeddings: Bool
    /// The configuration as it was read, which saving carries over; of a model with vision that of its text part.
    public var original: JSONObject

    /// Whether each head's queries and keys are normalised (Gemma 3).
    public var normalizesQueriesAndKeys: Bool { modelType == Self.gemma3 }

    static let (gemma2, gemma3) = ("gemma2", "gemma3_text")
    /// Gemma 3 with vision, whose configuration holds that of the text part.
    static let gemma3WithVision = "gemma3"
    /// The members of the family.
    static let modelTypes = [gemma2, gemma3, gemma3WithVision]

    /// Reads `config.json`.
    ///
    /// What published files leave out is the default of transformers' `Gemma2Config` and `Gemma3TextConfig`.
    ///
    /// - Throws: ``MoruError/Code/modelConfiguration`` or ``MoruError/Code/modelUnsupported``, naming the key.
    public init(json: JSON, source: String) throws(MoruError) {
        if try ConfigurationReader(json: json, source: source).text("model_type") == Self.gemma3WithVision {
            guard let text = json["text_config"], case .object = text else {
                throw ConfigurationReader(json: json, source: source).missing("text_config")
            }
            try self.init(text: text, Self.gemma3, source: "\(source), text_config")
            return
        }
        try self.init(text: json, json["model_type"]?.string ?? Self.gemma2, source: source)
    }

    private init(text json: JSON, _ modelType: String, source: String) throws(MoruError) {
        let reader = ConfigurationReader(json: json, source: source)
        let isSecond = modelType == Self.gemma2
        self.modelType = modelType
        vocabularySize = try reader.size("vocab_size", default: isSecond ? 256_000 : 262_208)
        hiddenSize = try reader.size("hidden_size")
        intermediateSize = try reader.size("intermediate_size")
        layerCount = try reader.size("num_hidden_layers")
        headCount = try reader.size("num_attention_heads", default: 8)
        kvHeadCount = try reader.size("num_key_value_heads", default: 4)
        headDim = try reader.size("head_dim", default: 256)
        contextLength = try reader.size("max_position_embeddings", default: isSecond ? 8192 : 131_072)
        normEpsilon = Float(try reader.positive("rms_norm_eps", default: 1e-6))
        activation = try reader.activation("hidden_activation", default: "gelu_pytorch_tanh")
        queryScalar = try reader.positive("query_pre_attn_scalar", default: 256)
        scoreSoftcap = try reader.softcap("attn_logit_softcapping", default: isSecond ? 50 : nil)
        logitSoftcap = try reader.softcap("final_logit_softcapping", default: isSecond ? 30 : nil)
        hasAttentionBias = try reader.flag("attention_bias", default: false)
        tiesEmbeddings = try reader.flag("tie_word_embeddings", default: true)
        try LlamaConfiguration.refuseAbsurd(layerCount: layerCount, source: source)
        windows = try Self.windows(reader, layerCount, pattern: isSecond ? 2 : nil)
        (globalRotation, localRotation) =
            try isSecond
            ? Self.rotation(reader, contextLength) : Self.rotations(reader, contextLength)
        original = json.object ?? JSONObject()
        try refuseUnsupported(reader)
        try validate(source: source)
    }

    /// The windows of layers, from the list of their kinds or the number of layers after which the kinds repeat; the
    /// last of them sees everything.
    private static func windows(
        _ reader: ConfigurationReader, _ layerCount: Int, pattern: Int?
    ) throws(MoruError) -> [Int?] {
        if reader.json.object?["sliding_window"]?.isNull == true { return Array(repeating: nil, count: layerCount) }
        let window = try reader.size("sliding_window", default: 4096)
        guard let value = reader.json["layer_types"] else {
            let period: Int
            if let pattern { period = pattern } else { period = try reader.size("sliding_window_pattern", default: 6) }
            return (1...layerCount).map { $0 % period == 0 ? nil : window }
        }
        let (sliding, full) = ("sliding_attention", "full_attention")
        guard let types = value.array?.map(\.string), types.count == layerCount,
            types.allSatisfy({ $0 == sliding || $0 == full })
        else {
            throw reader.unexpected("layer_types", value, "a list of \(layerCount) times \(sliding) or \(full)")
        }
        return types.map { $0 == sliding ? window : nil }
    }

    /// Gemma 2: the same frequencies in all layers.
    private static func rotation(
        _ reader: ConfigurationReader, _ contextLength: Int
    ) throws(MoruError) -> (global: Rotation, local: Rotation) {
        let json = reader.json["rope_parameters"] ?? reader.json["rope_scaling"]
        let base = try reader.number("rope_theta", default: 10_000)
        let rotation = try Rotation(json, base: base, contextLength, "\(reader.source), rope_parameters")
        return (rotation, rotation)
    }

    /// Gemma 3: frequencies for layers of each kind; older files have keys of their own for them, and stretch those of
    /// the layers that see everything.
    private static func rotations(
        _ reader: ConfigurationReader, _ contextLength: Int
    ) throws(MoruError) -> (global: Rotation, local: Rotation) {
        let (base, localBase) = (
            try reader.number("rope_theta", default: 1_000_000),
            try reader.number("rope_local_base_freq", default: 10_000)
        )
        guard let json = reader.json["rope_parameters"] else {
            let global = try Rotation(
                reader.json["rope_scaling"], base: base, contextLength, "\(reader.source), rope_scaling")
            return (global, Rotation(base: localBase, scaling: .none))
        }
        let (full, sliding) = ("full_attention", "sliding_attention")
        guard json[full] != nil || json[sliding] != nil else {
            throw reader.unexpected("rope_parameters", json, "an object for \(full) and one for \(sliding)")
        }
        let place = "\(reader.source), rope_parameters"
        return (
            try Rotation(json[full], base: base, contextLength, "\(place), \(full)"),
            try Rotation(json[sliding], base: localBase, contextLength, "\(place), \(sliding)")
        )
    }

    private func refuseUnsupported(_ reader: ConfigurationReader) throws(MoruError) {
        if reader.json["quantization_config"] != nil {
            throw reader.unsupported(
                "quantization_config", remedy: "use the unquantised model, or a GGUF file of the quantised one")
        }
        if try reader.flag("use_bidirectional_attention", default: false) {
            throw reader.unsupported(
                "use_bidirectional_attention", remedy: "it makes the model an encoder: use a Gemma that generates")
        }
        if modelType == Self.gemma3, scoreSoftcap != nil {
            throw reader.unsupported("attn_logit_softcapping", remedy: "Gemma 3 has none, only Gemma 2 does")
        }
    }

    func validate(source: String) throws(MoruError) {
        func require(_ condition: Bool, _ message: String) throws(MoruError) {
            if condition { return }
            throw MoruError(
                .modelConfiguration, "\(source): \(message)", remedy: "restore the file that came with the model")
        }
        try require(
            headCount % kvHeadCount == 0,
            "num_attention_heads \(headCount) is not a multiple of num_key_value_heads \(kvHeadCount)")
        try require(headDim % 2 == 0, "head_dim \(headDim) is odd, rotary embedding needs pairs")
        for base in [globalRotation.base, localRotation.base] {
            try require(base > 1, "rope_theta \(base) is not above 1")
        }
    }

    /// What attention scores are multiplied by.
    var scoreScale: Float { Float(1 / queryScalar.squareRoot()) }
}

extension GemmaConfiguration.Rotation {
    fileprivate init(_ json: JSON?, base: Double, _ contextLength: Int, _ source: String) throws(MoruError) {
        self.base = try ConfigurationReader(json: json ?? .null, source: source).number("rope_theta", default: base)
        scaling = try RotaryScaling(json: json, contextLength: contextLength, source: source)
    }
}

extension ConfigurationReader {
    /// A positive cap, or nil where the file says null.
    fileprivate func softcap(_ key: String, default fallback: Double?) throws(MoruError) -> Float? {
        guard json.object?[key] != nil else { return fallback.map { Float($0) } }
        return json[key] == nil ? nil : Float(try positive(key))
    }
}
