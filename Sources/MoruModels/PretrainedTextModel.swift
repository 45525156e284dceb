import MoruBase
import MoruNN
import MoruTensor
import MoruText

/// A model directory or GGUF file, opened for something else than generation: an encoder, or the trunk of a language
/// model, to put a head on or to take embeddings from.
public struct PretrainedTextModel: Sendable {
    /// The network that turns tokens into hidden states.
    public let base: any TextModel
    /// The tokenizer.
    public let tokenizer: Tokenizer
    /// Where it was loaded from.
    public let path: String
    /// `config.json` as it was read; for a GGUF file what it would be.
    public let configuration: JSON
    /// How its weights are stored, for people: `safetensors bf16`, `GGUF Q4_1`.
    public let storageDescription: String
    /// The licence that its files name, if any.
    public let license: String?
    /// Everything that the file holds, by name: besides the network's own parameters those of a head, such as
    /// `classifier.weight`, if it has one (`weights.contains("classifier.weight")`).
    public let weights: Weights

    /// Makes a model of its parts.
    public init(
        base: any TextModel, tokenizer: Tokenizer, path: String, configuration: JSON, storageDescription: String,
        license: String?, weights: Weights
    ) {
        (self.base, self.tokenizer, self.path, self.configuration) = (base, tokenizer, path, configuration)
        (self.storageDescription, self.license, self.weights) = (storageDescription, license, weights)
    }

    /// A language model that is open already, for something else than generation; its weights are shared.
    ///
    /// - Throws: What the formats throw.
    public init(sharing model: PretrainedModel) throws(MoruError) {
        let isDirectory = FileSystem.isDirectory(model.path)
        self.init(
            base: model.model, tokenizer: model.tokenizer, path: model.path,
            configuration: isDirectory
                ? try JSON.parse(file: model.path + "/config.json") : model.model.configurationJSON,
            storageDescription: model.storageDescription, license: model.license,
            weights: Weights(
                CheckpointWeights(isDirectory ? try TensorDirectory(path: model.path) : try GGUFFile(path: model.path)))
        )
    }

    /// Whether the network is an encoder, which reads texts in both directions.
    public var isEncoder: Bool { !(base is any LanguageModel) }

    /// The class that saved the model, such as `BertForSequenceClassification`; nil when the file does not say.
    public var architecture: String? { configuration["architectures"]?[0]?.string }
}
