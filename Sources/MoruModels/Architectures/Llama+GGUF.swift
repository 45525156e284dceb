import MoruBase
import MoruTensor

extension LlamaConfiguration {
    /// GGUF's name for each member of the family. Mistral's files say `llama`.
    static let ggufArchitectures = ["llama", "qwen2", "qwen3"]

    /// Reads the metadata of a GGUF file.
    ///
    /// - Throws: ``MoruError/Code/modelConfiguration``, naming the key.
    init(gguf file: GGUFFile) throws(MoruError) {
        let architecture = file.metadata["general.architecture"]?.string ?? ""
        let reader = GGUFConfigurationReader(file: file, prefix: architecture)
        modelType = architecture
        hiddenSize = try reader.size("embedding_length")
        intermediateSize = try reader.size("feed_forward_length")
        layerCount = try reader.size("block_count")
        headCount = try reader.size("attention.head_count")
        kvHeadCount = try reader.size("attention.head_count_kv", default: headCount)
        headDim = try reader.size("attention.key_length", default: max(1, hiddenSize / headCount))
        try Self.refuseAbsurd(layerCount: layerCount, source: file.path)
        try reader.refuse("attention.value_length", unless: headDim)
        try reader.refuse("rope.dimension_count", unless: headDim)
        try reader.refuse("expert_count", unless: 0)
        contextLength = try reader.size("context_length")
        normEpsilon = Float(try reader.number("attention.layer_norm_rms_epsilon", default: 1e-5))
        ropeBase = try reader.number("rope.freq_base", default: 10_000)
        guard let embedding = file.info("token_embd.weight"), embedding.shape.count == 2 else {
            throw MoruError(
                .weightMissing, "\(file.path): the tensor token_embd.weight is missing or no matrix",
                remedy: "the file is damaged: download it, or convert the model to GGUF, again")
        }
        vocabularySize = embedding.shape[0]
        ropeScaling = try reader.ropeScaling(contextLength: contextLength, headDim: headDim, base: ropeBase)
        tiesEmbeddings = file.info("output.weight") == nil
        hasQKVBias = file.info("blk.0.attn_q.bias") != nil
        hasOutputBias = file.info("blk.0.attn_output.bias") != nil
        hasFeedForwardBias = file.info("blk.0.ffn_gate.bias") != nil
        normalizesQueriesAndKeys = file.info("blk.0.attn_q_norm.weight") != nil
        let window = try reader.size("attention.sliding_window", default: contextLength)
        windows = Array(repeating: window < contextLength ? window : nil, count: layerCount)
        original = JSONObject()
        try validate(source: file.path)
    }

    /// The GGUF name of a checkpoint's tensor, such as `blk.0.attn_q.weight` for
    /// `model.layers.0.self_attn.q_proj.weight`; nil when there is none.
    static func ggufName(of path: String) -> String? {
        switch path {
        case "model.embed_tokens.weight": return "token_embd.weight"
        case "model.norm.weight": return "output_norm.weight"
        case "lm_head.weight": return "output.weight"
        default: break
        }
        let parts = path.split(separator: ".").map(String.init)
        guard parts.count >= 5, parts[0] == "model", parts[1] == "layers", let kind = parts.last else { return nil }
        let names = [
            "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
            "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
            "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "mlp.gate_proj": "ffn_gate",
            "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
        ]
        return names[parts[3..<parts.count - 1].joined(separator: ".")].map { "blk.\(parts[2]).\($0).\(kind)" }
    }

    /// The number of heads whose rows GGUF stores in another order than the checkpoint, for a tensor; nil for none.
    ///
    /// Files of architecture `llama` keep the two halves of each rotated head interleaved.
    func interleavedHeads(of path: String) -> Int? {
        guard modelType == "llama" else { return nil }
        if path.contains(".self_attn.q_proj.") { return headCount }
        if path.contains(".self_attn.k_proj.") { return kvHeadCount }
        return nil
    }
}
