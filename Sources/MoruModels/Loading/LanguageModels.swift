import MoruBase
import MoruNN
import MoruTensor

/// The architectures that Moru has a definition of.
public enum LanguageModels {
    /// One line for each architecture: what `config.json` and GGUF files call it, and how it is built from them.
    static let table: [LanguageModelArchitecture] = [
        LanguageModelArchitecture(LlamaConfiguration.modelTypes, gguf: .llama) {
            config, source, weights throws(MoruError) in
            try Llama(LlamaConfiguration(json: config, source: source), weights)
        },
        LanguageModelArchitecture([OLMo2.modelType], gguf: .olmo2) { config, source, weights throws(MoruError) in
            try OLMo2(LlamaConfiguration(json: config, source: source), weights)
        },
        LanguageModelArchitecture([Phi3.modelType], gguf: .phi3) { config, source, weights throws(MoruError) in
            try Phi3(LlamaConfiguration(json: config, source: source), weights)
        },
        LanguageModelArchitecture(GemmaConfiguration.modelTypes, gguf: .gemma) {
            config, source, weights throws(MoruError) in
            try Gemma(GemmaConfiguration(json: config, source: source), weights)
        },
        LanguageModelArchitecture([GPTNeoXConfiguration.modelType], gguf: .gptNeoX) {
            config, source, weights throws(MoruError) in
            try GPTNeoX(GPTNeoXConfiguration(json: config, source: source), weights)
        },
        LanguageModelArchitecture([GPT2Configuration.modelType]) { config, source, weights throws(MoruError) in
            try GPT2(GPT2Configuration(json: config, source: source), weights)
        },
        LanguageModelArchitecture([RecurrentConfiguration.modelType]) { config, source, weights throws(MoruError) in
            try RecurrentLanguageModel(RecurrentConfiguration(json: config, source: source), weights)
        },
    ]

    /// Their names, as `model_type` of `config.json` gives them.
    public static let architectures = table.flatMap(\.modelTypes)

    /// Builds the network that a `config.json` describes.
    ///
    /// - Throws: ``MoruError/Code/modelUnsupported``, ``MoruError/Code/modelConfiguration``, or what the weights throw.
    public static func build(
        _ config: JSON, source: String, _ weights: Weights
    ) throws(MoruError) -> any LanguageModel {
        let reader = ConfigurationReader(json: config, source: source)
        guard let type = try reader.text("model_type") else { throw reader.missing("model_type") }
        guard let architecture = table.first(where: { $0.modelTypes.contains(type) }) else {
            throw unsupported(type, config, source: source, supported: architectures)
        }
        return try architecture.build(config, source, weights)
    }

    /// Builds the network of a GGUF file.
    ///
    /// - Throws: As ``build(_:source:_:)``.
    static func build(_ file: GGUFFile) throws(MoruError) -> any LanguageModel {
        guard let name = file.metadata["general.architecture"]?.string else {
            throw MoruError(
                .modelConfiguration, "\(file.path): the metadata key general.architecture is missing or no string",
                remedy: "convert the model to GGUF again")
        }
        if let type = file.metadata["general.type"]?.string, type != "model" {
            throw MoruError(
                .modelUnsupported, "\(file.path): the file holds no model, its general.type is \"\(type)\"",
                remedy: "name the GGUF file of the model itself")
        }
        let layouts = table.compactMap(\.gguf)
        guard let layout = layouts.first(where: { $0.names.contains(name) }) else {
            throw unsupported(
                name, configuration(of: file, name), source: file.path, supported: layouts.flatMap(\.names))
        }
        let reading = try layout.read(file)
        let weights = CheckpointWeights(file, entry: reading.entry)
        weights.markUsed(reading.factors)
        let model = try reading.build(Weights(weights))
        try weights.checkBlocksAreUsed()
        return model
    }
}

/// An architecture, as its files name it and say what it is.
struct LanguageModelArchitecture: Sendable {
    typealias Build =
        @Sendable (_ config: JSON, _ source: String, _ weights: Weights) throws(MoruError) -> any LanguageModel

    /// The values of `model_type` in `config.json`.
    let modelTypes: [String]
    /// How GGUF files of it are read; nil where none are.
    let gguf: GGUFLayout?
    /// Builds the network that a `config.json` describes.
    let build: Build

    init(_ modelTypes: [String], gguf: GGUFLayout? = nil, build: @escaping Build) {
        self.modelTypes = modelTypes
        self.gguf = gguf
        self.build = build
    }
}

/// How the GGUF files of an architecture are read.
struct GGUFLayout: Sendable {
    /// What a file's metadata tell.
    struct Reading {
        /// Where a parameter lies in the file.
        let entry: @Sendable (_ path: String) -> CheckpointWeights.Entry?
        /// Builds the network.
        let build: (_ weights: Weights) throws(MoruError) -> any LanguageModel
        /// Tensors that were read with the metadata.
        var factors: [String] = []
    }

    /// The values of `general.architecture`.
    let names: [String]
    /// Reads a file's metadata.
    let read: @Sendable (GGUFFile) throws(MoruError) -> Reading
}
