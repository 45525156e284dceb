import MoruBase
import MoruTensor

/// The configuration of GPT-2 (Radford et al., 2019), in the keys of its `config.json`.
public struct GPT2Configuration: Sendable, Hashable {
    /// Token ids run from 0 to below this.
    public var vocabularySize: Int
    /// Elements of a hidden state.
    public var hiddenSize: Int
    /// Elements between the feed-forward's two projections.
    public var intermediateSize: Int
    /// Blocks.
    public var layerCount: Int
    /// Heads; divides ``hiddenSize``.
    public var headCount: Int
    /// Positions that have an embedding.
    public var contextLength: Int
    /// What the normalisations add to the variance.
    public var normEpsilon: Float
    /// The feed-forward's activation function.
    public var activation: Activation
    /// Whether the output projection is the embedding table.
    public var tiesEmbeddings: Bool
    /// Whether the scores of layer `l` are divided by `l + 1` as well.
    public var scalesByLayer: Bool
    /// Whether scores are divided by the root of the head's size.
    public var scalesScores: Bool
    /// The configuration as it was read, which saving carries over.
    public var original: JSONObject

    static let modelType = "gpt2"

    /// Reads `config.json`.
    ///
    /// - Throws: ``MoruError/Code/modelConfiguration`` or ``MoruError/Code/modelUnsupported``, naming the key.
    public init(json: JSON, source: String) throws(MoruError) {
        let reader = ConfigurationReader(json: json, source: source)
        vocabularySize = try reader.size("vocab_size", default: 50257)
        hiddenSize = try reader.size("n_embd", default: 768)
        layerCount = try reader.size("n_layer", default: 12)
        headCount = try reader.size("n_head", default: 12)
        contextLength = try reader.size("n_positions", default: 1024)
        let inner = json.object?["n_inner"]
        intermediateSize = inner == nil || inner?.isNull == true ? 4 * hiddenSize : try reader.size("n_inner")
        normEpsilon = Float(try reader.positive("layer_norm_epsilon", default: 1e-5))
        tiesEmbeddings = try reader.flag("tie_word_embeddings", default: true)
        scalesByLayer = try reader.flag("scale_attn_by_inverse_layer_idx", default: false)
        scalesScores = try reader.flag("scale_attn_weights", default: true)
        activation = try reader.activation("activation_function", default: "gelu_new")
        original = json.object ?? JSONObject()
        try LlamaConfiguration.refuseAbsurd(layerCount: layerCount, source: source)
        guard hiddenSize % headCount == 0 else {
            throw MoruError(
                .modelConfiguration, "\(source): n_embd \(hiddenSize) is not a multiple of n_head \(headCount)",
                remedy: "restore the file that came with the model")
        }
        if try reader.flag("add_cross_attention", default: false) {
            throw reader.unsupported("add_cross_attention", remedy: "use a decoder-only model")
        }
    }

    /// The configuration as `config.json`, in the keys that transformers reads.
    public var json: JSON {
        var result = original
        result["architectures"] = ["GPT2LMHeadModel"]
        result["model_type"] = .string(Self.modelType)
        result["vocab_size"] = .int(vocabularySize)
        result["n_embd"] = .int(hiddenSize)
        result["n_inner"] = .int(intermediateSize)
        result["n_layer"] = .int(layerCount)
        result["n_head"] = .int(headCount)
        result["n_positions"] = .int(contextLength)
        result["layer_norm_epsilon"] = .shortest(normEpsilon)
        result["activation_function"] = original["activation_function"] ?? .string(activation.configurationName)
        result["tie_word_embeddings"] = .bool(tiesEmbeddings)
        result["scale_attn_by_inverse_layer_idx"] = .bool(scalesByLayer)
        result["scale_attn_weights"] = .bool(scalesScores)
        return .object(result)
    }

    /// What the scores of a layer are multiplied by.
    func scoreScale(layer: Int) -> Float {
        let scale = scalesScores ? 1 / Float(hiddenSize / headCount).squareRoot() : 1
        return scalesByLayer ? scale / Float(layer + 1) : scale
    }
}
