import MoruBase

extension LlamaConfiguration {
    /// The configuration as `config.json`, in the keys that transformers reads.
    public var json: JSON {
        var result = original
        let type = checkpointType
        let member = LlamaMember.all[type] ?? LlamaMember(className: "Llama")
        result["architectures"] = [.string("\(member.className)ForCausalLM")]
        result["model_type"] = .string(type)
        result["auto_map"] = nil
        result["vocab_size"] = .int(vocabularySize)
        result["hidden_size"] = .int(hiddenSize)
        result["intermediate_size"] = .int(intermediateSize)
        result["num_hidden_layers"] = .int(layerCount)
        result["num_attention_heads"] = .int(headCount)
        result["num_key_value_heads"] = .int(kvHeadCount)
        result["head_dim"] = .int(headDim)
        result["max_position_embeddings"] = .int(contextLength)
        result["rms_norm_eps"] = .shortest(normEpsilon)
        result["rope_theta"] = .double(ropeBase)
        if original["rope_parameters"] == nil { result["rope_scaling"] = ropeScaling.json }
        if type == Phi3.modelType {
            if original["rope_parameters"] == nil {
                result["partial_rotary_factor"] = .double(Double(rotatedDim) / Double(headDim))
            }
            if case .longrope(_, _, let context, _) = ropeScaling {
                result["original_max_position_embeddings"] = .int(context)
            }
        }
        result["tie_word_embeddings"] = .bool(tiesEmbeddings)
        result["hidden_act"] = "silu"
        if member.readsAttentionBias { result["attention_bias"] = .bool(hasOutputBias) }
        if member.readsFeedForwardBias { result["mlp_bias"] = .bool(hasFeedForwardBias) }
        writeWindows(to: &result, member.windows)
        if type == "smollm3" { result["no_rope_layers"] = .array(rotates.map { .int($0 ? 1 : 0) }) }
        if type == "granite" {
            result["embedding_multiplier"] = .shortest(multipliers.embedding)
            result["residual_multiplier"] = .shortest(multipliers.residual)
            result["attention_multiplier"] = .shortest(scoreScale)
            result["logits_scaling"] = .shortest(multipliers.logitsDivisor)
        }
        if let experts { member.experts?.write(experts, &result) }
        return .object(result)
    }

    /// The member of the family whose checkpoints can say what this configuration is.
    ///
    /// GGUF files of architecture `llama` also hold Mistral's windows, and models that have only the biases of Qwen 2.
    private var checkpointType: String {
        guard modelType == "llama" else { return modelType }
        if windows.contains(where: { $0 != nil }) { return "mistral" }
        return hasQKVBias && !hasOutputBias && !hasFeedForwardBias ? "qwen2" : "llama"
    }

    private func writeWindows(to result: inout JSONObject, _ kind: LlamaMember.Windows) {
        let window = windows.lazy.compactMap { $0 }.first
        switch kind {
        case .never: break
        case .always, .given: result["sliding_window"] = window.map { .int($0) } ?? .null
        case .late, .withoutPositions, .used:
            result["use_sliding_window"] = .bool(window != nil)
            guard let window else { return }
            result["sliding_window"] = .int(window)
            if case .used = kind { return }
            if case .late = kind {
                result["max_window_layers"] = .int(windows.firstIndex { $0 != nil } ?? layerCount)
            }
            result["layer_types"] = .array(windows.map { $0 == nil ? "full_attention" : "sliding_attention" })
        }
    }
}

extension RotaryScaling {
    /// The scaling as `rope_scaling` of `config.json`.
    var json: JSON {
        switch self {
        case .none, .perFrequency: nil
        case .linear(let factor): ["rope_type": "linear", "factor": .double(factor)]
        case .llama3(let factor, let low, let high, let original):
            [
                "rope_type": "llama3", "factor": .double(factor), "low_freq_factor": .double(low),
                "high_freq_factor": .double(high), "original_max_position_embeddings": .int(original),
            ]
        case .longrope(let short, let long, let original, let attention):
            [
                "rope_type": "longrope", "short_factor": .array(short.map { .double($0) }),
                "long_factor": .array(long.map { .double($0) }), "original_max_position_embeddings": .int(original),
                "attention_factor": .double(attention),
            ]
        case .yarn(let factor, let fast, let slow, let original, let attention):
            [
                "rope_type": "yarn", "factor": .double(factor), "beta_fast": .double(fast),
                "beta_slow": .double(slow), "original_max_position_embeddings": .int(original),
                "attention_factor": .double(attention),
            ]
        }
    }
}
