import MoruBase
import MoruTensor

extension Llama: GGUFWritable {
    func ggufDescription() throws(MoruError) -> GGUFDescription {
        var c = configuration
        // Mistral's files say llama, and have its order of rows
        if c.modelType == "mistral" { c.modelType = "llama" }
        let isLikeSmolLM3 = c.modelType == "smollm3"
        guard c.rotates.enumerated().allSatisfy({ $1 == (!isLikeSmolLM3 || ($0 + 1) % 4 != 0) }) else {
            throw GGUFDescription.unsupported("which of the layers rotate", "\(c.rotates)")
        }
        let described = c
        var description = try GGUFDescription(c) { described.ggufEntry(of: $0, in: nil) }
        if let experts = c.experts { try description.add(experts, of: c.modelType) }
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
        try GGUFDescription(configuration, entry: Self.ggufNames.entry)
    }
}

extension Phi3: GGUFWritable {
    func ggufDescription() throws(MoruError) -> GGUFDescription {
        try GGUFDescription(configuration, entry: Self.ggufNames.entry)
    }
}

extension Gemma: GGUFWritable {
    func ggufDescription() throws(MoruError) -> GGUFDescription {
        let c = configuration
        let isSecond = c.modelType == GemmaConfiguration.gemma2
        guard c.activation == .geluTanh, c.queryScalar == c.usualQueryScalar else {
            throw GGUFDescription.unsupported(
                "this activation or scaling of scores in Gemma", "\(c.activation), \(c.queryScalar)")
        }
        guard !c.hasAttentionBias, c.tiesEmbeddings || !isSecond else {
            throw GGUFDescription.unsupported("biases in Gemma's attention, or an output projection", c.modelType)
        }
        guard !isSecond || (c.scoreSoftcap != nil && c.logitSoftcap != nil) else {
            throw GGUFDescription.unsupported("Gemma 2 without caps", "null")
        }
        var description = GGUFDescription(
            architecture: isSecond ? "gemma2" : "gemma3",
            fields: [
                ("context_length", .int(c.contextLength)), ("embedding_length", .int(c.hiddenSize)),
                ("block_count", .int(c.layerCount)), ("feed_forward_length", .int(c.intermediateSize)),
                ("attention.head_count", .int(c.headCount)), ("attention.head_count_kv", .int(c.kvHeadCount)),
                ("attention.key_length", .int(c.headDim)), ("attention.value_length", .int(c.headDim)),
                ("attention.layer_norm_rms_epsilon", .double(Double(c.normEpsilon))),
                ("rope.freq_base", .double(c.globalRotation.base)),
            ], entry: GemmaConfiguration.ggufEntry)
        if let cap = c.scoreSoftcap { description.fields.append(("attn_logit_softcapping", .double(Double(cap)))) }
        if let cap = c.logitSoftcap { description.fields.append(("final_logit_softcapping", .double(Double(cap)))) }
        try description.addWindows(c)
        try description.addRotations(c)
        return description
    }
}

extension GGUFDescription {
    /// Gemma's layers that see a window only: all but the last of every so many.
    fileprivate mutating func addWindows(_ c: GemmaConfiguration) throws(MoruError) {
        let window = c.windows.lazy.compactMap { $0 }.first
        let isUsual = c.windows.enumerated().allSatisfy {
            $1 == (($0 + 1) % c.usualWindowPeriod == 0 ? nil : window)
        }
        guard isUsual, window != nil || c.modelType != GemmaConfiguration.gemma2 else {
            throw Self.unsupported("which of Gemma's layers have windows", "\(c.windows)")
        }
        if let window { fields.append(("attention.sliding_window", .int(window))) }
    }

    /// Gemma's frequencies, which in Gemma 3 are others in the layers with a window.
    fileprivate mutating func addRotations(_ c: GemmaConfiguration) throws(MoruError) {
        let (global, local) = (c.globalRotation, c.localRotation)
        switch global.scaling {
        case .none, .linear: break
        default: throw Self.unsupported("this stretching of Gemma's frequencies", "\(global.scaling)")
        }
        if c.modelType == GemmaConfiguration.gemma2 {
            guard local == global else { throw Self.unsupported("frequencies of Gemma 2's windows", "\(local)") }
        } else {
            guard local.scaling == .none else {
                throw Self.unsupported("stretched frequencies of Gemma's windows", "\(local.scaling)")
            }
            fields.append(("rope.freq_base_swa", .double(local.base)))
        }
        try add(global.scaling, headDim: c.headDim, base: global.base)
    }

    /// Mixtures of experts. Mixtral's files say llama.
    fileprivate mutating func add(_ experts: ExpertConfiguration, of modelType: String) throws(MoruError) {
        guard experts.layers.allSatisfy({ $0 }), experts.routing.normalizesWeights else {
            throw Self.unsupported(
                "experts in some of the layers, or weights of experts that are not divided by their sum", modelType)
        }
        architecture = modelType == "mixtral" ? "llama" : modelType.replacing("_", with: "")
        fields += [
            ("expert_count", .int(experts.count)), ("expert_used_count", .int(experts.routing.expertsPerToken)),
            ("expert_feed_forward_length", .int(experts.intermediateSize)),
        ]
    }

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
                ("rope.dimension_count", .int(c.rotatedDim)), ("rope.freq_base", .double(c.ropeBase)),
            ], entry: entry)
        try add(c.ropeScaling, headDim: c.rotatedDim, base: c.ropeBase)
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
