import MoruBase
import MoruTensor

/// The architectures that are trained from scratch.
public enum PretrainingArchitecture: String, Sendable, Hashable, CaseIterable {
    /// Rotary positions, gated feed-forward, RMS normalisation (Touvron et al., 2023).
    case llama
    /// Learned positions, GELU, layer normalisation (Radford et al., 2019).
    case gpt2
    /// Two layers of long short-term memory.
    case lstm
    /// Two layers of gated recurrent units.
    case gru
}

/// The one dial: how large a model is, and what follows for its training.
///
/// | size | dim | layers | heads | feed-forward | context | vocabulary | tokens a step | learning rate | parameters |
/// |---|---|---|---|---|---|---|---|---|---|
/// | nano | 128 | 4 | 4 | 352 | 256 | 2048 | 4096 | 3e-3 | 1.1 M |
/// | micro | 256 | 6 | 4 | 704 | 512 | 8192 | 8192 | 2e-3 | 6.9 M |
/// | small | 512 | 8 | 8 | 1408 | 1024 | 16384 | 32768 | 1e-3 | 34 M |
/// | base | 768 | 12 | 12 | 2048 | 2048 | 32768 | 131072 | 6e-4 | 110 M |
///
/// The figures are Llama's, with tied embeddings. GPT-2 has four times its dimension between the feed-forward's
/// projections; recurrent models have two layers, as wide as makes the number of parameters the same.
public enum ModelSize: String, Sendable, Hashable, CaseIterable {
    /// For tests and first tries: learns in minutes on a laptop.
    case nano
    /// For small corpora.
    case micro
    /// For tens of megabytes of text, in hours.
    case small
    /// As large as the first GPT-2.
    case base

    var hiddenSize: Int { [128, 256, 512, 768][rank] }
    var layerCount: Int { [4, 6, 8, 12][rank] }
    var headCount: Int { [4, 4, 8, 12][rank] }
    var contextLength: Int { [256, 512, 1024, 2048][rank] }
    var vocabularySize: Int { [2048, 8192, 16384, 32768][rank] }
    var tokensAStep: Int { [4096, 8192, 32768, 131_072][rank] }
    var learningRate: Float { [3e-3, 2e-3, 1e-3, 6e-4][rank] }

    private var rank: Int { Self.allCases.firstIndex(of: self) ?? 0 }
}

/// The shape of a model that is trained from scratch; what is nil follows from the size.
public struct ModelShape: Sendable, Hashable {
    /// Elements of a hidden state.
    public var hiddenSize: Int?
    /// Layers.
    public var layers: Int?
    /// Heads; of attention alone.
    public var heads: Int?
    /// Key and value heads, as many as heads by default; of `llama` alone.
    public var kvHeads: Int?
    /// Elements between the feed-forward's projections; of attention models alone.
    public var feedForward: Int?
    /// Positions, and the tokens of a row of training data.
    public var context: Int?
    /// Whether the output projection is the embedding table.
    public var tiesEmbeddings = true

    /// Everything as the size says.
    public init() {}

    /// The positions of a size's model.
    func contextLength(_ size: ModelSize) -> Int { context ?? size.contextLength }

    /// The configuration of the model as its `config.json` holds it.
    func configuration(_ architecture: PretrainingArchitecture, _ size: ModelSize, vocabularySize: Int) -> JSON {
        let dim = hiddenSize ?? size.hiddenSize
        let (layers, heads) = (self.layers ?? size.layerCount, self.heads ?? size.headCount)
        // Two thirds of four times the dimension, whole vectors
        let inner = feedForward ?? (dim * 8 / 3 + 31) / 32 * 32
        let context = contextLength(size)
        switch architecture {
        case .llama:
            return [
                "model_type": "llama", "vocab_size": .int(vocabularySize), "hidden_size": .int(dim),
                "intermediate_size": .int(inner), "num_hidden_layers": .int(layers),
                "num_attention_heads": .int(heads), "num_key_value_heads": .int(kvHeads ?? heads),
                "max_position_embeddings": .int(context), "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
                "tie_word_embeddings": .bool(tiesEmbeddings), "hidden_act": "silu",
            ]
        case .gpt2:
            return [
                "model_type": "gpt2", "vocab_size": .int(vocabularySize), "n_embd": .int(dim),
                "n_inner": .int(feedForward ?? 4 * dim), "n_layer": .int(layers), "n_head": .int(heads),
                "n_positions": .int(context), "layer_norm_epsilon": 1e-5, "activation_function": "gelu_new",
                "tie_word_embeddings": .bool(tiesEmbeddings), "embd_pdrop": 0.0, "attn_pdrop": 0.0,
                "resid_pdrop": 0.0,
            ]
        case .lstm, .gru:
            let cell: RecurrentCell = architecture == .lstm ? .lstm : .gru
            let count = self.layers ?? 2
            let budget = vocabularySize * dim + size.layerCount * (4 * dim * dim + 3 * dim * inner)
            let width =
                hiddenSize ?? Self.recurrentWidth(budget, cell, layers: count, vocabularySize: vocabularySize)
            return [
                "model_type": "moru_recurrent", "cell": .string(cell.rawValue), "vocab_size": .int(vocabularySize),
                "hidden_size": .int(width), "num_hidden_layers": .int(count),
                "max_position_embeddings": .int(context), "tie_word_embeddings": .bool(tiesEmbeddings),
            ]
        }
    }

    /// The width that gives a recurrent model about as many parameters as wanted: `2 gates layers H^2 + vocabulary H`.
    private static func recurrentWidth(
        _ parameters: Int, _ cell: RecurrentCell, layers: Int, vocabularySize: Int
    ) -> Int {
        let square = Double(2 * cell.gateCount * layers)
        let linear = Double(vocabularySize)
        let root = (linear * linear + 4 * square * Double(parameters)).squareRoot()
        return max(16, Int(((root - linear) / (2 * square) / 16).rounded()) * 16)
    }
}
