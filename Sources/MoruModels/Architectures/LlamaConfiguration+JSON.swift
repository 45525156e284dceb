import MoruBase

extension LlamaConfiguration {
    /// The configuration as `config.json`, in the keys that transformers reads.
    public var json: JSON {
        var result = original
        let className = ["llama": "Llama", "mistral": "Mistral", "qwen2": "Qwen2", "qwen3": "Qwen3"][modelType]
        result["architectures"] = [.string("\(className ?? "Llama")ForCausalLM")]
        result["model_type"] = .string(modelType)
        result["vocab_size"] = .int(vocabularySize)
        result["hidden_size"] = .int(hiddenSize)
        result["intermediate_size"] = .int(intermediateSize)
        result["num_hidden_layers"] = .int(layerCount)
        result["num_attention_heads"] = .int(headCount)
        result["num_key_value_heads"] = .int(kvHeadCount)
        result["head_dim"] = .int(headDim)
        result["max_position_embeddings"] = .int(contextLength)
        result["rms_norm_eps"] = .double(Double(normEpsilon))
        result["rope_theta"] = .double(ropeBase)
        if original["rope_parameters"] == nil { result["rope_scaling"] = ropeScaling.json }
        result["tie_word_embeddings"] = .bool(tiesEmbeddings)
        result["hidden_act"] = "silu"
        if modelType != "qwen2" { result["attention_bias"] = .bool(hasOutputBias) }
        if modelType == "llama" { result["mlp_bias"] = .bool(hasFeedForwardBias) }
        if let window = windows.lazy.compactMap({ $0 }).first {
            result["sliding_window"] = .int(window)
            if modelType != "mistral" { result["use_sliding_window"] = true }
        } else if modelType == "mistral" {
            result["sliding_window"] = .null
        }
        return .object(result)
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
        case .yarn(let factor, let fast, let slow, let original, let attention):
            [
                "rope_type": "yarn", "factor": .double(factor), "beta_fast": .double(fast),
                "beta_slow": .double(slow), "original_max_position_embeddings": .int(original),
                "attention_factor": .double(attention),
            ]
        }
    }
}
