import MoruBase
import MoruModels
import MoruNN

extension TestModels {
    /// A tiny BERT with the byte tokenizer, to embed or to classify texts with.
    ///
    /// - Parameters:
    ///   - seed: The start of random weights; nil for deterministic ones.
    ///   - fields: More fields of its configuration.
    ///   - forHead: Whether its parameters get the names that they have below a head.
    /// - Throws: What building a model and a tokenizer throws.
    public static func tinyEncoder(
        seed: UInt64? = nil, contextLength: Int = 64, fields: JSONObject = JSONObject(), forHead: Bool = false
    ) throws -> PretrainedTextModel {
        var config: JSONObject = JSONObject([
            ("model_type", "bert"), ("vocab_size", .int(byteTokenizerSize)), ("hidden_size", 32),
            ("num_hidden_layers", 2), ("num_attention_heads", 4), ("intermediate_size", 48),
            ("max_position_embeddings", .int(contextLength)),
        ])
        for (key, value) in fields.members { config[key] = value }
        let source: any WeightSource = seed.map { RandomWeights(seed: $0) } ?? DeterministicWeights()
        let weights = Weights(source)
        return PretrainedTextModel(
            base: try Encoders.build(.object(config), source: "tiny", forHead ? weights["bert"] : weights),
            tokenizer: try byteTokenizer(), path: "tiny", configuration: .object(config), storageDescription: "f32",
            license: nil, weights: weights)
    }

    /// A tiny Llama with the byte tokenizer, to embed or to classify texts with.
    ///
    /// - Throws: What building a model and a tokenizer throws.
    public static func tinyTrunk(seed: UInt64, contextLength: Int = 64) throws -> PretrainedTextModel {
        let model = try tinyPretrained(seed: seed, contextLength: contextLength)
        return PretrainedTextModel(
            base: model.model, tokenizer: model.tokenizer, path: "tiny", configuration: model.model.configurationJSON,
            storageDescription: "f32", license: nil, weights: Weights(RandomWeights(seed: seed)))
    }

    /// A tiny BERT that makes vectors of length 1.
    ///
    /// - Throws: What building a model and a tokenizer throws.
    public static func tinyEmbedder(
        contextLength: Int = 64, fields: JSONObject = JSONObject(), prompts: [String: String] = [:]
    ) throws -> TextEmbedder {
        TextEmbedder(
            try tinyEncoder(contextLength: contextLength, fields: fields),
            modules: SentenceModules(poolings: [.mean], prompts: prompts))
    }

    /// A tiny BERT with a random head.
    ///
    /// - Throws: What building a model and a tokenizer throws.
    public static func tinyClassifier(
        _ head: HeadConfiguration, contextLength: Int = 64, fields: JSONObject = JSONObject()
    ) throws -> HeadedModel {
        try HeadedModel.start(try tinyEncoder(contextLength: contextLength, fields: fields), head: head, seed: 11)
    }
}
