import MoruBase
import MoruTensor

extension GGUFLayout {
    /// Gemma 2 and 3. Files hold 1 more than the checkpoint's weights of normalisations, which is what rows are
    /// multiplied by.
    static let gemma = GGUFLayout(names: ["gemma2", "gemma3"]) { file throws(MoruError) in
        let configuration = try GemmaConfiguration(gguf: file)
        return Reading(
            entry: GemmaConfiguration.ggufEntry,
            build: { weights throws(MoruError) in try Gemma(configuration, weights) })
    }
}

extension GemmaConfiguration {
    static let ggufNames = GGUFNames(
        blocks: "model.layers",
        outer: ["model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"],
        inner: [
            "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
            "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
            "input_layernorm": "attn_norm", "post_attention_layernorm": "post_attention_norm",
            "pre_feedforward_layernorm": "ffn_norm", "post_feedforward_layernorm": "post_ffw_norm",
            "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
        ])

    /// Where a checkpoint's tensor lies in a GGUF file.
    @Sendable static func ggufEntry(of path: String) -> CheckpointWeights.Entry? {
        ggufNames[path].map { CheckpointWeights.Entry(name: $0, offset: $0.hasSuffix("norm.weight") ? 1 : 0) }
    }

    /// Reads the metadata of a GGUF file; what it leaves out is what llama.cpp takes it to be.
    ///
    /// - Throws: ``MoruError/Code/modelConfiguration``, naming the key.
    init(gguf file: GGUFFile) throws(MoruError) {
        let architecture = file.metadata["general.architecture"]?.string ?? ""
        let reader = GGUFConfigurationReader(file: file, prefix: architecture)
        let isSecond = architecture == Self.gemma2
        modelType = isSecond ? Self.gemma2 : Self.gemma3
        vocabularySize = try file.vocabularySize()
        hiddenSize = try reader.size("embedding_length")
        intermediateSize = try reader.size("feed_forward_length")
        layerCount = try reader.size("block_count")
        headCount = try reader.size("attention.head_count")
        kvHeadCount = try reader.size("attention.head_count_kv", default: headCount)
        headDim = try reader.size("attention.key_length", default: max(1, hiddenSize / headCount))
        try LlamaConfiguration.refuseAbsurd(layerCount: layerCount, source: file.path)
        try reader.refuse("attention.value_length", unless: headDim)
        try reader.refuse("rope.dimension_count", unless: headDim)
        contextLength = try reader.size("context_length")
        normEpsilon = Float(try reader.number("attention.layer_norm_rms_epsilon", default: 1e-6))
        activation = .geluTanh
        queryScalar = 1
        scoreSoftcap = isSecond ? Float(try reader.number("attn_logit_softcapping", default: 50)) : nil
        let logitCap = Float(try reader.number("final_logit_softcapping", default: isSecond ? 30 : 0))
        logitSoftcap = logitCap > 0 ? logitCap : nil
        windows = try reader.gemmaWindows(layerCount: layerCount, isSecond: isSecond)
        if !isSecond, reader.value("rope.freq_base") == nil {
            throw MoruError(
                .modelConfiguration, "\(file.path): the metadata key \(architecture).rope.freq_base is missing",
                remedy: "use a file that llama.cpp's converter made")
        }
        let base = try reader.number("rope.freq_base", default: 10_000)
        globalRotation = Rotation(
            base: base,
            scaling: try reader.ropeScaling(contextLength: contextLength, headDim: headDim, base: base))
        let localBase = try reader.number("rope.freq_base_swa", default: isSecond ? base : 10_000)
        localRotation = Rotation(base: localBase, scaling: isSecond ? globalRotation.scaling : .none)
        hasAttentionBias = file.info("blk.0.attn_output.bias") != nil
        tiesEmbeddings = file.info("output.weight") == nil
        original = JSONObject()
        queryScalar = usualQueryScalar
        try validate(source: file.path)
    }

    /// What a file's reader takes scores to be divided by the root of. No key says it: the largest models alone have
    /// something else than a head's elements.
    var usualQueryScalar: Double {
        Double(layerCount == (modelType == Self.gemma2 ? 46 : 62) ? hiddenSize / headCount : headDim)
    }

    /// The layers, of so many, of which the last alone sees everything, where a file does not say otherwise.
    var usualWindowPeriod: Int { modelType == Self.gemma2 ? 2 : 6 }
}

extension GGUFConfigurationReader {
    /// The window of each layer: all but the last of every 2 layers of Gemma 2, and of every 6 of Gemma 3, unless the
    /// file says otherwise.
    fileprivate func gemmaWindows(layerCount: Int, isSecond: Bool) throws(MoruError) -> [Int?] {
        if !isSecond, value("attention.sliding_window") == nil { return Array(repeating: nil, count: layerCount) }
        let window = try size("attention.sliding_window", default: 4096)
        let key = "attention.sliding_window_pattern"
        if let flags = value(key)?.ints {
            guard flags.count == layerCount else { throw malformed(key, "\(layerCount) times true or false") }
            return flags.map { $0 == 0 ? nil : window }
        }
        let period = try size(key, default: isSecond ? 2 : 6)
        return (1...layerCount).map { $0 % period == 0 ? nil : window }
    }
}
