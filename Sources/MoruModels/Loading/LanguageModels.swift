import MoruBase
import MoruNN
import MoruTensor

/// The architectures that Moru has a definition of.
public enum LanguageModels {
    /// Their names, as `model_type` of `config.json` gives them.
    public static let architectures =
        LlamaConfiguration.modelTypes + [GPT2Configuration.modelType, RecurrentConfiguration.modelType]

    /// Builds the network that a `config.json` describes.
    ///
    /// - Throws: ``MoruError/Code/modelUnsupported``, ``MoruError/Code/modelConfiguration``, or what the weights throw.
    public static func build(
        _ config: JSON, source: String, _ weights: Weights
    ) throws(MoruError) -> any LanguageModel {
        let reader = ConfigurationReader(json: config, source: source)
        guard let type = try reader.text("model_type") else { throw reader.missing("model_type") }
        guard architectures.contains(type) else { throw unsupported(type, source: source, supported: architectures) }
        switch type {
        case GPT2Configuration.modelType:
            return try GPT2(GPT2Configuration(json: config, source: source), weights)
        case RecurrentConfiguration.modelType:
            return try RecurrentLanguageModel(RecurrentConfiguration(json: config, source: source), weights)
        default: return try Llama(LlamaConfiguration(json: config, source: source), weights)
        }
    }

    /// Builds the network of a GGUF file.
    ///
    /// - Throws: As ``build(_:source:_:)``.
    static func build(_ file: GGUFFile) throws(MoruError) -> any LanguageModel {
        guard let architecture = file.metadata["general.architecture"]?.string else {
            throw MoruError(
                .modelConfiguration, "\(file.path): the metadata key general.architecture is missing or no string",
                remedy: "convert the model to GGUF again")
        }
        if let type = file.metadata["general.type"]?.string, type != "model" {
            throw MoruError(
                .modelUnsupported, "\(file.path): the file holds no model, its general.type is \"\(type)\"",
                remedy: "name the GGUF file of the model itself")
        }
        guard LlamaConfiguration.ggufArchitectures.contains(architecture) else {
            throw unsupported(architecture, source: file.path, supported: LlamaConfiguration.ggufArchitectures)
        }
        let configuration = try LlamaConfiguration(gguf: file)
        let weights = CheckpointWeights(file) { path in
            LlamaConfiguration.ggufName(of: path).map {
                CheckpointWeights.Entry(name: $0, interleavedHeads: configuration.interleavedHeads(of: path))
            }
        }
        let model = try Llama(configuration, Weights(weights))
        try weights.checkBlocksAreUsed()
        return model
    }

    private static func unsupported(_ type: String, source: String, supported: [String]) -> MoruError {
        let nearest = nearestName(to: type, among: supported).map { "; the nearest is \($0)" } ?? ""
        return MoruError(
            .modelUnsupported, "\(source): the architecture \"\(type)\" is not supported",
            remedy: "supported are \(supported.joined(separator: ", "))\(nearest)")
    }
}
