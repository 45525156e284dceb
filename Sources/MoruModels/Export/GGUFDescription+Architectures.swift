import MoruBase
import MoruTensor

extension Llama: GGUFWritable {
    func ggufDescription() throws(MoruError) -> GGUFDescription {
        var c = configuration
        if c.experts != nil {
            throw MoruError(
                .exportUnsupported, "mixtures of experts (\(c.modelType)) are not written as GGUF yet",
                remedy: "export the model as safetensors")
        }
        // Mistral's files say llama
        if c.modelType == "mistral" { c.modelType = "llama" }
        let isLikeSmolLM3 = c.modelType == "smollm3"
        guard c.rotates.enumerated().allSatisfy({ $1 == (!isLikeSmolLM3 || ($0 + 1) % 4 != 0) }) else {
            throw GGUFDescription.unsupported("which of the layers rotate", "\(c.rotates)")
        }
        let described = c
        var description = try GGUFDescription(c) { path in
            LlamaConfiguration.ggufName(of: path).map {
                CheckpointWeights.Entry(name: $0, interleavedHeads: described.interleavedHeads(of: path))
            }
        }
        if c.modelType == "granite" {
            let numbers: [(String, Float)] = [
                ("embedding_scale", c.multipliers.embedding), ("residual_scale", c.multipliers.residual),
                ("logit_scale", c.multipliers.logitsDivisor), ("attention.scale", c.scoreScale),
            ]
            for (key, number) in numbers { description.fields.append((key, .double(Double(number)))) }
        }
        return description
    }
}

extension OLMo2: GGUFWritable {
    func ggufDescription() throws(MoruError) -> GGUFDescription {
        try GGUFDescription(configuration) { path in Self.ggufNames[path].map { CheckpointWeights.Entry(name: $0) } }
    }
}

extension GGUFDescription {
    /// A model of the Llama family, or one whose configuration has the same fields.
    fileprivate init(
        _ c: LlamaConfiguration, entry: @escaping @Sendable (String) -> CheckpointWeights.Entry?
    ) throws(MoruError) {
        self.init(
            architecture: c.modelType,
            fields: [
                ("vocab_size", .int(c.vocabularySize)), ("context_length", .int(c.contextLength)),
                ("embedding_length", .int(c.hiddenSize)), ("block_count", .int(c.layerCount)),
                ("feed_forward_length", .int(c.intermediateSize)), ("attention.head_count", .int(c.headCount)),
                ("attention.head_count_kv", .int(c.kvHeadCount)), ("attention.key_length", .int(c.headDim)),
                ("attention.value_length", .int(c.headDim)),
                ("attention.layer_norm_rms_epsilon", .double(Double(c.normEpsilon))),
                ("rope.dimension_count", .int(c.headDim)), ("rope.freq_base", .double(c.ropeBase)),
            ], entry: entry)
        try add(c.ropeScaling, headDim: c.headDim, base: c.ropeBase)
        guard let window = c.windows.lazy.compactMap({ $0 }).first else { return }
        guard c.windows.allSatisfy({ $0 == window }) else {
            throw Self.unsupported("a window in some of the layers", "\(window)")
        }
        fields.append(("attention.sliding_window", .int(window)))
        notes.append(
            "llama.cpp attends to the whole context in this architecture: beyond the model's window of \(window) "
                + "tokens its results differ")
    }
}

extension GPTNeoX: GGUFWritable {
    func ggufDescription() throws(MoruError) -> GGUFDescription {
        let c = configuration
        guard c.activation == .gelu, c.hasAttentionBias else {
            throw GGUFDescription.unsupported("this activation, or attention without biases", "\(c.activation)")
        }
        var description = GGUFDescription(
            architecture: "gptneox",
            fields: [
                ("context_length", .int(c.contextLength)), ("embedding_length", .int(c.hiddenSize)),
                ("block_count", .int(c.layerCount)), ("feed_forward_length", .int(c.intermediateSize)),
                ("attention.head_count", .int(c.headCount)), ("rope.dimension_count", .int(c.rotatedDim)),
                ("rope.freq_base", .double(c.ropeBase)), ("use_parallel_residual", .bool(c.isParallel)),
                ("attention.layer_norm_epsilon", .double(Double(c.normEpsilon))),
            ],
            entry: { path in
                let heads = path.contains(".query_key_value.") ? c.headCount : nil
                return Self.ggufNames[path].map { CheckpointWeights.Entry(name: $0, separatedHeads: heads) }
            })
        try description.add(c.ropeScaling, headDim: c.rotatedDim, base: c.ropeBase)
        return description
    }
}

extension GPT2: GGUFWritable {
    func ggufDescription() throws(MoruError) -> GGUFDescription {
        let c = configuration
        guard c.activation == .geluTanh, c.scalesScores, !c.scalesByLayer else {
            throw GGUFDescription.unsupported("this activation or scaling of scores in GPT-2", "\(c.activation)")
        }
        return GGUFDescription(
            architecture: GPT2Configuration.modelType,
            fields: [
                ("context_length", .int(c.contextLength)), ("embedding_length", .int(c.hiddenSize)),
                ("feed_forward_length", .int(c.intermediateSize)), ("block_count", .int(c.layerCount)),
                ("attention.head_count", .int(c.headCount)),
                ("attention.layer_norm_epsilon", .double(Double(c.normEpsilon))),
            ],
            entry: { path in GPT2Configuration.ggufName(of: path).map { CheckpointWeights.Entry(name: $0) } })
    }
}

extension GPT2Configuration {
    /// The GGUF name of a checkpoint's tensor, such as `blk.0.attn_qkv.weight` for
    /// `transformer.h.0.attn.c_attn.weight`; nil when there is none.
    static func ggufName(of path: String) -> String? {
        var parts = path.split(separator: ".").map(String.init)
        if parts.first == "transformer" { parts.removeFirst() }
        guard parts.count >= 2, let kind = parts.last else { return nil }
        switch parts[0] {
        case "wte": return "token_embd.\(kind)"
        case "wpe": return "position_embd.\(kind)"
        case "ln_f": return "output_norm.\(kind)"
        case "lm_head": return "output.\(kind)"
        default: break
        }
        let names = [
            "ln_1": "attn_norm", "attn.c_attn": "attn_qkv", "attn.c_proj": "attn_output", "ln_2": "ffn_norm",
            "mlp.c_fc": "ffn_up", "mlp.c_proj": "ffn_down",
        ]
        guard parts[0] == "h", parts.count >= 4 else { return nil }
        return names[parts[2..<parts.count - 1].joined(separator: ".")].map { "blk.\(parts[1]).\($0).\(kind)" }
    }
}
