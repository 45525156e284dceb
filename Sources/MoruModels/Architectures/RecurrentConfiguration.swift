import MoruBase
import MoruTensor

/// The configuration of a recurrent language model. The layout is Moru's own, since transformers has none:
///
///     {"model_type": "moru_recurrent", "cell": "lstm", "vocab_size": 8192, "hidden_size": 512,
///      "num_hidden_layers": 2, "max_position_embeddings": 1024, "tie_word_embeddings": true}
public struct RecurrentConfiguration: Sendable, Hashable {
    /// The cell of every layer.
    public var cell: RecurrentCell
    /// Token ids run from 0 to below this.
    public var vocabularySize: Int
    /// Elements of an embedding and of each layer's output.
    public var hiddenSize: Int
    /// Layers.
    public var layerCount: Int
    /// The most positions that the model is used with; its equations know no limit.
    public var contextLength: Int
    /// Whether the output projection is the embedding table.
    public var tiesEmbeddings: Bool
    /// The configuration as it was read, which saving carries over.
    public var original: JSONObject

    static let modelType = "moru_recurrent"

    /// Reads `config.json`.
    ///
    /// - Throws: ``MoruError/Code/modelConfiguration`` or ``MoruError/Code/modelUnsupported``, naming the key.
    public init(json: JSON, source: String) throws(MoruError) {
        let reader = ConfigurationReader(json: json, source: source)
        let name = try reader.text("cell") ?? RecurrentCell.lstm.rawValue
        guard let cell = RecurrentCell(rawValue: name) else {
            throw reader.unsupported("cell", remedy: "use lstm or gru")
        }
        self.cell = cell
        vocabularySize = try reader.size("vocab_size")
        hiddenSize = try reader.size("hidden_size")
        layerCount = try reader.size("num_hidden_layers")
        contextLength = try reader.size("max_position_embeddings", default: 4096)
        tiesEmbeddings = try reader.flag("tie_word_embeddings", default: true)
        original = json.object ?? JSONObject()
        try LlamaConfiguration.refuseAbsurd(layerCount: layerCount, source: source)
    }

    /// The configuration as `config.json`.
    public var json: JSON {
        var result = original
        result["architectures"] = ["MoruRecurrentForCausalLM"]
        result["model_type"] = .string(Self.modelType)
        result["cell"] = .string(cell.rawValue)
        result["vocab_size"] = .int(vocabularySize)
        result["hidden_size"] = .int(hiddenSize)
        result["num_hidden_layers"] = .int(layerCount)
        result["max_position_embeddings"] = .int(contextLength)
        result["tie_word_embeddings"] = .bool(tiesEmbeddings)
        return .object(result)
    }
}
