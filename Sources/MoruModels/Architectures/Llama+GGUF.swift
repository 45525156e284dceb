import MoruBase
import MoruTensor

extension GGUFLayout {
    /// The Llama family.
    static let llama = GGUFLayout(names: LlamaConfiguration.ggufArchitectures) { file throws(MoruError) in
        let configuration = try LlamaConfiguration(gguf: file)
        return Reading(
            entry: { configuration.ggufEntry(of: $0, in: file) },
            build: { weights throws(MoruError) in try Llama(configuration, weights) })
    }
}

extension LlamaConfiguration {
    /// GGUF's name for each member of the family. Mistral's and Mixtral's files say `llama`.
    static let ggufArchitectures = ["llama", "qwen2", "qwen3", "qwen3moe", "granite", "smollm3"]

    /// The members that a file with experts is, by its architecture.
    private static let ggufExpertTypes = ["llama": "mixtral", "qwen3moe": "qwen3_moe"]

    /// Reads the metadata of a GGUF file.
    ///
    /// - Throws: ``MoruError/Code/modelConfiguration``, naming the key.
    init(gguf file: GGUFFile) throws(MoruError) {
        let architecture = file.metadata["general.architecture"]?.string ?? ""
        let reader = GGUFConfigurationReader(file: file, prefix: architecture)
        modelType = architecture
        hiddenSize = try reader.size("embedding_length")
        intermediateSize = try reader.size(
            "feed_forward_length", default: reader.value("expert_feed_forward_length")?.int)
        layerCount = try reader.size("block_count")
        headCount = try reader.size("attention.head_count")
        kvHeadCount = try reader.size("attention.head_count_kv", default: headCount)
        headDim = try reader.size("attention.key_length", default: max(1, hiddenSize / headCount))
        try Self.refuseAbsurd(layerCount: layerCount, source: file.path)
        try reader.refuse("attention.value_length", unless: headDim)
        let isPhi3 = architecture == Phi3.modelType
        rotatedDim = isPhi3 ? try reader.size("rope.dimension_count", default: headDim) : headDim
        if !isPhi3 { try reader.refuse("rope.dimension_count", unless: headDim) }
        if let type = Self.ggufExpertTypes[architecture] {
            experts = try ExpertConfiguration(reader, layerCount: layerCount)
            // Only files of Llama may have none
            if experts == nil, architecture != "llama" { _ = try reader.size("expert_count") }
            if experts != nil { modelType = type }
        } else {
            try reader.refuse("expert_count", unless: 0)
        }
        contextLength = try reader.size("context_length")
        normEpsilon = Float(try reader.number("attention.layer_norm_rms_epsilon", default: 1e-5))
        ropeBase = try reader.number("rope.freq_base", default: 10_000)
        vocabularySize = try file.vocabularySize()
        ropeScaling = try reader.ropeScaling(contextLength: contextLength, headDim: rotatedDim, base: ropeBase)
        tiesEmbeddings = file.info("output.weight") == nil
        hasQKVBias = file.info("blk.0.attn_q.bias") != nil
        hasOutputBias = file.info("blk.0.attn_output.bias") != nil
        hasFeedForwardBias = file.info("blk.0.ffn_gate.bias") != nil
        normalizesQueriesAndKeys = file.info("blk.0.attn_q_norm.weight") != nil
        // Phi-4's files say that there is none with a window of 0
        let hasWindow = reader.value("attention.sliding_window")?.int != 0
        let window = hasWindow ? try reader.size("attention.sliding_window", default: contextLength) : contextLength
        windows = Array(repeating: window < contextLength ? window : nil, count: layerCount)
        // llama.cpp knows every fourth layer only
        rotates = (1...layerCount).map { architecture != "smollm3" || $0 % 4 != 0 }
        if architecture == "granite" { multipliers = try LlamaMultipliers(reader) }
        original = JSONObject()
        try validate(source: file.path)
    }

    /// The GGUF name of a checkpoint's tensor, such as `blk.0.attn_q.weight` for
    /// `model.layers.0.self_attn.q_proj.weight`; nil when there is none.
    static func ggufName(of path: String) -> String? {
        ggufNames[path]
    }

    static let ggufNames = GGUFNames(
        blocks: "model.layers",
        outer: ["model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"],
        inner: [
            "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
            "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
            "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "mlp.gate_proj": "ffn_gate",
            "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
        ])

    /// Where a checkpoint's tensor lies in a GGUF file.
    ///
    /// - Parameter file: The file that is read; nil for one that is to be written.
    func ggufEntry(of path: String, in file: GGUFFile?) -> CheckpointWeights.Entry? {
        if let experts, let entry = LlamaMember.all[modelType]?.experts?.ggufEntry(of: path, experts, in: file) {
            return entry
        }
        return Self.ggufName(of: path).map {
            CheckpointWeights.Entry(name: $0, interleavedHeads: interleavedHeads(of: path))
        }
    }

    /// The number of heads whose rows GGUF stores in another order than the checkpoint, for a tensor; nil for none.
    ///
    /// Files of architecture `llama`, and of those that are converted as it is, keep the two halves of each rotated head interleaved.
    func interleavedHeads(of path: String) -> Int? {
        guard ["llama", "mixtral", "granite", "smollm3"].contains(modelType) else { return nil }
        if path.contains(".self_attn.q_proj.") { return headCount }
        if path.contains(".self_attn.k_proj.") { return kvHeadCount }
        return nil
    }
}

extension LlamaMultipliers {
    /// Reads the keys of Granite's GGUF files.
    fileprivate init(_ reader: GGUFConfigurationReader) throws(MoruError) {
        embedding = Float(try reader.number("embedding_scale", default: 1))
        residual = Float(try reader.number("residual_scale", default: 1))
        scores = reader.value("attention.scale") == nil ? nil : Float(try reader.number("attention.scale", default: 1))
        logitsDivisor = Float(try reader.number("logit_scale", default: 1))
    }
}
