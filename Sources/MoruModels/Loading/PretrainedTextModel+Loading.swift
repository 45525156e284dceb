import MoruBase
import MoruNN
import MoruTensor
import MoruText

extension PretrainedTextModel {
    /// Opens a model: an encoder's or a language model's Hugging Face directory with or without a head, a
    /// sentence-transformers directory, or a GGUF file.
    ///
    /// Weights are mapped into memory and read when first used.
    ///
    /// - Parameters:
    ///   - path: The directory or file.
    ///   - forHead: Whether an encoder's parameters get the names that they have below a head
    ///     (`bert.encoder.layer.0...`), even where the file holds the encoder alone. Adapters and classifiers name them
    ///     so.
    /// - Throws: ``MoruError/Code/modelNotFound``, ``MoruError/Code/modelUnsupported``,
    ///   ``MoruError/Code/modelConfiguration``, ``MoruError/Code/tokenizerMismatch``, or what the formats throw.
    public static func load(_ path: String, forHead: Bool = false) throws(MoruError) -> PretrainedTextModel {
        let loaded: PretrainedTextModel
        switch try ModelLocation(SentenceModules.networkDirectory(of: path)) {
        case .gguf(let file): loaded = try load(gguf: file)
        case .directory(let directory): loaded = try load(directory: directory, forHead: forHead)
        }
        try PretrainedModel.checkTokenizer(loaded.tokenizer, loaded.base.facts, path: path)
        return loaded
    }

    private static func load(directory: String, forHead: Bool) throws(MoruError) -> PretrainedTextModel {
        let configPath = directory + "/config.json"
        let config = try JSON.parse(file: configPath)
        let source = try TensorDirectory(path: directory)
        let (base, weights) =
            Encoders.architectures.contains(config["model_type"]?.string ?? "")
            ? try encoder(config, configPath, source, forHead: forHead) : try trunk(config, configPath, source)
        let (tokenizer, _) = try Tokenizer.load(directory: directory)
        return PretrainedTextModel(
            base: base, tokenizer: tokenizer, path: directory, configuration: config,
            storageDescription: source.storageDescription, license: PretrainedModel.license(directory: directory),
            weights: Weights(weights))
    }

    private static func encoder(
        _ config: JSON, _ configPath: String, _ source: TensorDirectory, forHead: Bool
    ) throws(MoruError) -> (any TextModel, CheckpointWeights) {
        let prefix = try Encoders.prefix(of: config, source: configPath) + "."
        let isBare = source.info(prefix + "embeddings.word_embeddings.weight") == nil
        let weights = CheckpointWeights(source) { path in
            var name = path
            if isBare, forHead, name.hasPrefix(prefix) { name.removeFirst(prefix.count) }
            return CheckpointWeights.Entry(name: source.info(name) == nil ? originalName(of: name) : name)
        }
        let root = Weights(weights)
        let place = isBare && !forHead ? root : root[String(prefix.dropLast())]
        let base = try Encoders.build(config, source: configPath, place)
        try weights.checkBlocksAreUsed()
        return (base, weights)
    }

    /// The first checkpoints call the scale and shift of a normalisation gamma and beta.
    private static func originalName(of name: String) -> String {
        for (suffix, original) in [(".LayerNorm.weight", ".LayerNorm.gamma"), (".LayerNorm.bias", ".LayerNorm.beta")]
        where name.hasSuffix(suffix) {
            return name.dropLast(suffix.count) + original
        }
        return name
    }

    /// A language model whose output projection may be missing, as where a head took its place, and whose names may lack
    /// the `model.` of the trunk, as where it was saved alone.
    private static func trunk(
        _ config: JSON, _ configPath: String, _ source: TensorDirectory
    ) throws(MoruError) -> (any TextModel, CheckpointWeights) {
        let prefix = "model."
        let weights = CheckpointWeights(source) { path in
            let name = CheckpointWeights.name(of: path, in: source)
            let isBare = name.hasPrefix(prefix) && source.info(name) == nil
            return CheckpointWeights.Entry(name: isBare ? String(name.dropFirst(prefix.count)) : name)
        }
        let base: any LanguageModel
        do throws(MoruError) {
            base = try LanguageModels.build(config, source: configPath, Weights(weights))
        } catch {
            guard error.code == .weightMissing, var object = config.object, config["tie_word_embeddings"]?.bool != true
            else { throw error }
            // Nothing computes logits with what then stands in for the projection
            object["tie_word_embeddings"] = true
            base = try LanguageModels.build(.object(object), source: configPath, Weights(weights))
        }
        try weights.checkBlocksAreUsed()
        return (base, weights)
    }

    private static func load(gguf path: String) throws(MoruError) -> PretrainedTextModel {
        try PretrainedTextModel(sharing: PretrainedModel.load(path))
    }
}
