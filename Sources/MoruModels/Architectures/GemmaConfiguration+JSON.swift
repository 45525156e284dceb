import MoruBase

extension GemmaConfiguration {
    /// The configuration as `config.json`, in the keys that transformers reads.
    ///
    /// Of a model with vision this is the text part, a model of its own.
    public var json: JSON {
        var result = original
        let isSecond = modelType == Self.gemma2
        result["architectures"] = [isSecond ? "Gemma2ForCausalLM" : "Gemma3ForCausalLM"]
        result["model_type"] = .string(modelType)
        result["vocab_size"] = .int(vocabularySize)
        result["hidden_size"] = .int(hiddenSize)
        result["intermediate_size"] = .int(intermediateSize)
        result["num_hidden_layers"] = .int(layerCount)
        result["num_attention_heads"] = .int(headCount)
        result["num_key_value_heads"] = .int(kvHeadCount)
        result["head_dim"] = .int(headDim)
        result["max_position_embeddings"] = .int(contextLength)
        result["rms_norm_eps"] = .shortest(normEpsilon)
        result["hidden_activation"] = .string(activation.configurationName)
        result["query_pre_attn_scalar"] = Int(exactly: queryScalar).map { .int($0) } ?? .double(queryScalar)
        result["attn_logit_softcapping"] = scoreSoftcap.map { .double(Double($0)) } ?? .null
        result["final_logit_softcapping"] = logitSoftcap.map { .double(Double($0)) } ?? .null
        result["attention_bias"] = .bool(hasAttentionBias)
        result["tie_word_embeddings"] = .bool(tiesEmbeddings)
        result["sliding_window"] = windows.lazy.compactMap { $0 }.first.map { .int($0) } ?? .null
        result["layer_types"] = .array(windows.map { $0 == nil ? "full_attention" : "sliding_attention" })
        guard original["rope_parameters"] == nil else { return .object(result) }
        result["rope_theta"] = .double(globalRotation.base)
        result["rope_scaling"] = globalRotation.scaling.json
        if !isSecond { result["rope_local_base_freq"] = .double(localRotation.base) }
        return .object(result)
    }
}
