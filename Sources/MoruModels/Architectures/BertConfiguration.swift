import MoruBase
import MoruTensor

/// The configuration of BERT (Devlin et al., 2019), RoBERTa (Liu et al., 2019), XLM-RoBERTa (Conneau et al., 2020) and
/// DistilBERT (Sanh et al., 2019), in the keys of their `config.json`.
public struct BertConfiguration: Sendable, Hashable {
    /// `bert`, `roberta`, `xlm-roberta`, `camembert` or `distilbert`.
    public var modelType: String
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
    /// Rows of the position table.
    public var positionCount: Int
    /// The row that the first position has: RoBERTa keeps those up to its padding id unused.
    public var firstPosition: Int
    /// Kinds of tokens; 0 for none.
    public var tokenTypeCount: Int
    /// What the normalisations add to the variance.
    public var normEpsilon: Float
    /// The feed-forward's activation function.
    public var activation: Activation
    /// The configuration as it was read, which saving carries over.
    public var original: JSONObject

    static let robertaTypes = ["roberta", "xlm-roberta", "camembert"]
    static let distilType = "distilbert"
    static let modelTypes = ["bert"] + robertaTypes + [distilType]

    /// Reads `config.json`.
    ///
    /// - Throws: ``MoruError/Code/modelConfiguration`` or ``MoruError/Code/modelUnsupported``, naming the key.
    public init(json: JSON, source: String) throws(MoruError) {
        let reader = ConfigurationReader(json: json, source: source)
        modelType = try reader.text("model_type") ?? "bert"
        let isDistilled = modelType == Self.distilType
        let keys = Keys(isDistilled: isDistilled)
        vocabularySize = try reader.size("vocab_size", default: 30522)
        hiddenSize = try reader.size(keys.hiddenSize, default: 768)
        intermediateSize = try reader.size(keys.intermediateSize, default: 3072)
        layerCount = try reader.size(keys.layerCount, default: isDistilled ? 6 : 12)
        headCount = try reader.size(keys.headCount, default: 12)
        positionCount = try reader.size("max_position_embeddings", default: 512)
        tokenTypeCount = isDistilled ? 0 : try reader.size("type_vocab_size", default: 2)
        normEpsilon = isDistilled ? 1e-12 : Float(try reader.positive("layer_norm_eps", default: 1e-12))
        original = json.object ?? JSONObject()
        let name = try reader.text(keys.activation) ?? "gelu"
        guard let activation = Self.activations.first(where: { $0.name == name })?.function else {
            throw reader.unsupported(
                keys.activation, remedy: "supported are \(Self.activations.map(\.name).joined(separator: ", "))")
        }
        self.activation = activation
        firstPosition = 0
        if Self.robertaTypes.contains(modelType) {
            firstPosition = Int(try reader.tokenIDs("pad_token_id").first ?? 1) + 1
        }
        try LlamaConfiguration.refuseAbsurd(layerCount: layerCount, source: source)
        guard hiddenSize % headCount == 0 else {
            throw MoruError(
                .modelConfiguration,
                "\(source): \(keys.hiddenSize) \(hiddenSize) is not a multiple of \(keys.headCount) \(headCount)",
                remedy: "restore the file that came with the model")
        }
        guard positionCount > firstPosition else {
            throw MoruError(
                .modelConfiguration,
                "\(source): max_position_embeddings \(positionCount) leaves no position after pad_token_id "
                    + "\(firstPosition - 1)", remedy: "restore the file that came with the model")
        }
        if let kind = try reader.text("position_embedding_type"), kind != "absolute" {
            throw reader.unsupported("position_embedding_type", remedy: "use a model with absolute positions")
        }
        for key in ["is_decoder", "add_cross_attention"] where try reader.flag(key, default: false) {
            throw reader.unsupported(key, remedy: "use a model that is an encoder alone")
        }
    }

    private struct Keys {
        let hiddenSize, intermediateSize, layerCount, headCount, activation: String

        init(isDistilled: Bool) {
            (hiddenSize, intermediateSize) = isDistilled ? ("dim", "hidden_dim") : ("hidden_size", "intermediate_size")
            (layerCount, headCount) =
                isDistilled ? ("n_layers", "n_heads") : ("num_hidden_layers", "num_attention_heads")
            activation = isDistilled ? "activation" : "hidden_act"
        }
    }

    private static let activations: [(name: String, function: Activation)] = [
        ("gelu", .gelu), ("gelu_new", .geluTanh), ("gelu_pytorch_tanh", .geluTanh), ("gelu_fast", .geluTanh),
        ("silu", .silu), ("swish", .silu), ("relu", .relu),
    ]

    /// The most tokens of a sequence.
    public var contextLength: Int { positionCount - firstPosition }

    /// What the names of the network's parameters begin with in a model that has a head on it.
    var prefix: String {
        if modelType == Self.distilType { return "distilbert" }
        return Self.robertaTypes.contains(modelType) ? "roberta" : "bert"
    }

    /// The configuration as `config.json`, in the keys that transformers reads: that of the network without a head.
    public var json: JSON {
        let keys = Keys(isDistilled: modelType == Self.distilType)
        var result = original
        let names = [
            "bert": "Bert", "roberta": "Roberta", "xlm-roberta": "XLMRoberta", "camembert": "Camembert",
            "distilbert": "DistilBert",
        ]
        result["architectures"] = [.string((names[modelType] ?? "Bert") + "Model")]
        result["model_type"] = .string(modelType)
        result["vocab_size"] = .int(vocabularySize)
        result[keys.hiddenSize] = .int(hiddenSize)
        result[keys.intermediateSize] = .int(intermediateSize)
        result[keys.layerCount] = .int(layerCount)
        result[keys.headCount] = .int(headCount)
        result["max_position_embeddings"] = .int(positionCount)
        if tokenTypeCount > 0 {
            result["type_vocab_size"] = .int(tokenTypeCount)
            result["layer_norm_eps"] = .shortest(normEpsilon)
        }
        let name = Self.activations.first { $0.function == activation }?.name ?? "gelu"
        result[keys.activation] = original[keys.activation] ?? .string(name)
        if firstPosition > 0 { result["pad_token_id"] = .int(firstPosition - 1) }
        return .object(result)
    }
}
