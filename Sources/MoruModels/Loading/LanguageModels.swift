import MoruBase
import MoruNN
import MoruTensor

/// The architectures that Moru has a definition of.
public enum LanguageModels {
    /// Their names, as `model_type` of `config.json` gives them.
    public static let architectures = LlamaConfiguration.modelTypes

    /// Builds the network that a `config.json` describes.
    ///
    /// - Throws: ``MoruError/Code/modelUnsupported``, ``MoruError/Code/modelConfiguration``, or what the weights throw.
    public static func build(
        _ config: JSON, source: String, _ weights: Weights
    ) throws(MoruError) -> any LanguageModel {
        let type = try ConfigurationReader(json: config, source: source).text("model_type") ?? ""
        guard architectures.contains(type) else { throw unsupported(type, source: source) }
        return try Llama(LlamaConfiguration(json: config, source: source), weights)
    }

    /// Builds the network of a GGUF file.
    ///
    /// - Throws: As ``build(_:source:_:)``.
    static func build(_ file: GGUFFile) throws(MoruError) -> any LanguageModel {
        let architecture = file.metadata["general.architecture"]?.string ?? ""
        guard LlamaConfiguration.ggufArchitectures.contains(architecture) else {
            throw unsupported(architecture, source: file.path)
        }
        let configuration = try LlamaConfiguration(gguf: file)
        let weights = CheckpointWeights(file) { path in
            LlamaConfiguration.ggufName(of: path).map {
                CheckpointWeights.Entry(name: $0, interleavedHeads: configuration.interleavedHeads(of: path))
            }
        }
        return try Llama(configuration, Weights(weights))
    }

    private static func unsupported(_ type: String, source: String) -> MoruError {
        let nearest = nearestName(to: type, among: architectures).map { "; the nearest is \($0)" } ?? ""
        return MoruError(
            .modelUnsupported, "\(source): the architecture \"\(type)\" is not supported",
            remedy: "supported are \(architectures.joined(separator: ", "))\(nearest)")
    }
}
