import MoruBase

/// The configuration of the Llama family: Llama 2 and 3, SmolLM2 and 3, Mistral, Qwen 2, 2.5 and 3, Granite 3.
///
/// The members differ in a few places only, each a field here: Mistral's sliding window, the biases of Qwen 2, the
/// normalised queries and keys of Qwen 3, Granite's multipliers, the layers of SmolLM3 without rotary positions.
/// ``OLMo2`` and ``Phi3`` have the same keys, and blocks of their own.
public struct LlamaConfiguration: Sendable, Hashable {
    /// The member of the family, as `model_type` names it: `llama`, `mistral`, `qwen2`, `qwen3`...
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
    /// Whether queries and keys are normalised: each head (Qwen 3), or all heads together (OLMo 2).
    public var normalizesQueriesAndKeys: Bool
    /// How many elements of a head, from the first on, are turned by its position; even. All but in Phi-3.
    public var rotatedDim: Int
    /// Whether each layer has rotary positions; those of SmolLM3 that have none see no positions.
    public var rotates: [Bool]
    /// What Granite multiplies.
    public var multipliers = LlamaMultipliers()
    /// The sliding window of each layer; nil sees everything.
    public var windows: [Int?]
    /// The mixtures of experts that some blocks have in place of a feed-forward (Mixtral, Qwen3-MoE).
    public var experts: ExpertConfiguration?
    /// The configuration as it was read, which saving carries over.
    public var original: JSONObject

    /// The members of the family.
    static let modelTypes = ["llama", "mistral", "mixtral", "qwen2", "qwen3", "qwen3_moe", "granite", "smollm3"]

    /// Reads `config.json`.
    ///
    /// - Throws: ``MoruError/Code/modelConfiguration`` or ``MoruError/Code/modelUnsupported``, naming the key.
    public init(json: JSON, source: String) throws(MoruError) {
        let reader = ConfigurationReader(json: json, source: source)
        modelType = try reader.text("model_type") ?? "llama"
        let member = LlamaMember.all[modelType] ?? LlamaMember(className: "Llama")
        vocabularySize = try reader.size("vocab_size")
        hiddenSize = try reader.size("hidden_size")
        intermediateSize = try reader.size("intermediate_size")
        layerCount = try reader.size("num_hidden_layers")
        headCount = try reader.size("num_attention_heads")
        kvHeadCount = try reader.size(
            "num_key_value_heads", default: min(member.kvHeadCount ?? headCount, headCount))
        headDim = try reader.size("head_dim", default: max(1, hiddenSize / headCount))
        contextLength = try reader.size("max_position_embeddings", default: member.contextLength)
        normEpsilon = Float(try reader.number("rms_norm_eps", default: member.normEpsilon))
        let hasOriginal = json["original_max_position_embeddings"] != nil
        let rotary = try reader.rotary(
            defaultBase: member.ropeBase, contextLength: contextLength,
            originalContext: hasOriginal
                ? try reader.size("original_max_position_embeddings") : member.originalContext,
            allowsLong: member.originalContext != nil)
        (ropeBase, ropeScaling) = (rotary.base, rotary.scaling)
        rotatedDim = rotary.rotatedDim(headDim: headDim)
        if rotatedDim != headDim, modelType != Phi3.modelType {
            throw MoruError(
                .modelUnsupported, "\(source): \"partial_rotary_factor\": \(rotary.fraction) is not supported",
                remedy: "the family rotates whole heads")
        }
        tiesEmbeddings = try reader.flag("tie_word_embeddings", default: member.tiesEmbeddings)
        // A member that does not read a key is not changed by what stands there
        let attentionBias = member.readsAttentionBias ? try reader.flag("attention_bias", default: false) : false
        hasQKVBias = attentionBias || modelType == "qwen2"
        hasOutputBias = attentionBias
        hasFeedForwardBias = member.readsFeedForwardBias ? try reader.flag("mlp_bias", default: false) : false
        normalizesQueriesAndKeys = ["qwen3", "qwen3_moe", "olmo2"].contains(modelType)
        try Self.refuseAbsurd(layerCount: layerCount, source: source)
        rotates =
            try modelType == "smollm3" ? reader.rotatedLayers(layerCount) : Array(repeating: true, count: layerCount)
        windows = try Self.windows(reader, member.windows, rotates: rotates)
        if modelType == "granite" { multipliers = try LlamaMultipliers(reader) }
        experts = try member.experts?.read(reader, layerCount)
        original = json.object ?? JSONObject()
        try Self.refuseUnsupported(reader)
        if let activation = try reader.text("hidden_act"), activation != "silu" {
            throw MoruError(
                .modelUnsupported,
                "\(source): hidden_act \"\(activation)\" is not supported in the \(modelType) family",
                remedy: "the family uses silu")
        }
        try validate(source: source)
    }

    private static func windows(
        _ reader: ConfigurationReader, _ windows: LlamaMember.Windows, rotates: [Bool]
    ) throws(MoruError) -> [Int?] {
        let layerCount = rotates.count
        let given = reader.json.object?["sliding_window"]
        let isUsed =
            switch windows {
            case .never: false
            case .always: true
            case .given: given != nil
            case .late, .used: try reader.flag("use_sliding_window", default: false)
            case .withoutPositions: given == nil ? false : try reader.flag("use_sliding_window", default: false)
            }
        // An absent key means 4096, a null no window
        guard isUsed, given?.isNull != true else { return Array(repeating: nil, count: layerCount) }
        let window = try reader.size("sliding_window", default: 4096)
        if let types = reader.json["layer_types"]?.array {
            guard types.count == layerCount else {
                throw reader.unexpected("layer_types", .array(types), "a list of \(layerCount) layer types")
            }
            var windows: [Int?] = []
            for type in types {
                switch type.string {
                case "sliding_attention": windows.append(window)
                case "full_attention": windows.append(nil)
                default:
                    throw reader.unexpected("layer_types", type, "full_attention or sliding_attention for each layer")
                }
            }
            return windows
        }
        if case .withoutPositions = windows { return rotates.map { $0 ? nil : window } }
        // Qwen 2 and 3 slide only from layer max_window_layers on
        var first = 0
        guard case .late = windows else { return Array(repeating: window, count: layerCount) }
        if let value = reader.json["max_window_layers"] {
            guard let number = value.int, number >= 0 else {
                throw reader.unexpected("max_window_layers", value, "a number of layers")
            }
            first = number
        } else {
            first = 28
        }
        return (0..<layerCount).map { $0 >= first ? window : nil }
    }

    private static func refuseUnsupported(_ reader: ConfigurationReader) throws(MoruError) {
        if reader.json["quantization_config"] != nil {
            throw reader.unsupported(
                "quantization_config", remedy: "use the unquantised model, or a GGUF file of the quantised one")
        }
    }

    /// Comes before anything is made for every layer.
    static func refuseAbsurd(layerCount: Int, source: String) throws(MoruError) {
        if layerCount > 10_000 {
            throw MoruError(
                .modelConfiguration, "\(source): num_hidden_layers \(layerCount) is absurd",
                remedy: "restore the file that came with the model")
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
        try require(
            rotatedDim % 2 == 0 && 2...max(2, headDim) ~= rotatedDim,
            "rotary positions turn \(rotatedDim) of a head's \(headDim) elements, not a number of pairs")
        if case .longrope(let short, let long, _, _) = ropeScaling {
            try require(
                short.count == rotatedDim / 2 && long.count == rotatedDim / 2,
                "rope_scaling has \(short.count) short and \(long.count) long factors, \(rotatedDim / 2) are needed")
        }
        try require(normEpsilon > 0 && normEpsilon.isFinite, "rms_norm_eps \(normEpsilon) is not positive and finite")
        try require(ropeBase > 1, "rope_theta \(ropeBase) is not above 1")
    }
}

extension ConfigurationReader {
    /// Which layers have rotary positions, of SmolLM3: as `no_rope_layers` says with 1, or all but every fourth.
    fileprivate func rotatedLayers(_ layerCount: Int) throws(MoruError) -> [Bool] {
        guard let value = json["no_rope_layers"] else {
            let interval = try size("no_rope_layer_interval", default: 4)
            return (1...layerCount).map { $0 % interval != 0 }
        }
        guard let flags = value.array?.map(\.int), flags.count == layerCount, flags.allSatisfy({ $0 == 0 || $0 == 1 })
        else { throw unexpected("no_rope_layers", value, "a list of \(layerCount) times 0 or 1") }
        return flags.map { $0 == 1 }
    }
}

extension LlamaMultipliers {
    /// Reads the keys of Granite.
    fileprivate init(_ reader: ConfigurationReader) throws(MoruError) {
        embedding = Float(try reader.number("embedding_multiplier", default: 1))
        residual = Float(try reader.number("residual_multiplier", default: 1))
        scores = Float(try reader.number("attention_multiplier", default: 1))
        logitsDivisor = Float(try reader.positive("logits_scaling", default: 1))
    }
}
