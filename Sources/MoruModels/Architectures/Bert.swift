// BERT (Devlin et al., 2019), and RoBERTa (Liu et al., 2019), which is the same network with other positions.
// Parameter names are those of Hugging Face checkpoints.

import MoruBase
import MoruNN
import MoruTensor

extension EncoderBlock {
    fileprivate init(_ weights: Weights, _ configuration: BertConfiguration, layer: Int) throws(MoruError) {
        let c = configuration
        let (dim, inner, epsilon) = (c.hiddenSize, c.intermediateSize, c.normEpsilon)
        let attention = weights["attention"]
        let query = try attention["self"].linear("query", inputs: dim, outputs: dim, bias: true)
        let key = try attention["self"].linear("key", inputs: dim, outputs: dim, bias: true)
        let value = try attention["self"].linear("value", inputs: dim, outputs: dim, bias: true)
        self.init(
            projections: LinearGroup(query, key, value),
            output: try attention["output"].linear("dense", inputs: dim, outputs: dim, bias: true),
            attentionNorm: try attention["output"].layerNorm("LayerNorm", dim: dim, epsilon: epsilon),
            up: try weights["intermediate"].linear("dense", inputs: dim, outputs: inner, bias: true),
            down: try weights["output"].linear("dense", inputs: inner, outputs: dim, bias: true),
            outputNorm: try weights["output"].layerNorm("LayerNorm", dim: dim, epsilon: epsilon),
            layer: layer, heads: c.headCount, activation: c.activation)
    }
}

/// An encoder of the BERT family.
public final class Bert: TextModel {
    /// The configuration.
    public let configuration: BertConfiguration
    /// What BERT's classifiers apply to the first hidden state, followed by tanh; nil where the weights have none.
    public let pooler: Linear?
    private let trunk: EncoderTrunk

    /// Builds the model from its parameters.
    ///
    /// - Parameter weights: The place of the network's parameters: `embeddings`, `encoder` and `pooler`.
    /// - Throws: What the source of the weights throws.
    public init(_ configuration: BertConfiguration, _ weights: Weights) throws(MoruError) {
        self.configuration = configuration
        let c = configuration
        var blocks: [EncoderBlock] = []
        for layer in 0..<c.layerCount {
            blocks.append(try EncoderBlock(weights["encoder"]["layer"][layer], c, layer: layer))
        }
        let place = weights["embeddings"]
        trunk = EncoderTrunk(
            tokens: try place.embedding("word_embeddings", count: c.vocabularySize, dim: c.hiddenSize),
            positions: try place.embedding("position_embeddings", count: c.positionCount, dim: c.hiddenSize),
            tokenTypes: try place.embedding("token_type_embeddings", count: c.tokenTypeCount, dim: c.hiddenSize),
            norm: try place.layerNorm("LayerNorm", dim: c.hiddenSize, epsilon: c.normEpsilon), blocks: blocks,
            firstPosition: c.firstPosition)
        pooler =
            weights["pooler"].contains("dense.weight")
            ? try weights["pooler"].linear("dense", inputs: c.hiddenSize, outputs: c.hiddenSize, bias: true) : nil
    }

    /// The last hidden states [N, D]. Positions must lie below the context length.
    public func hiddenStates(_ batch: TokenBatch) -> Tensor { trunk.hiddenStates(batch) }

    /// The table that turns tokens into vectors.
    public var inputEmbedding: Embedding? { trunk.tokens }

    /// The linear layers of the blocks.
    public var linears: [Linear] { trunk.linears }

    /// Every parameter.
    public var parameters: [Parameter] { trunk.parameters + (pooler?.parameters ?? []) }

    /// The facts that callers need.
    public var facts: TextModelFacts { TextModelFacts(configuration) }

    /// The configuration as `config.json`.
    public var configurationJSON: JSON { configuration.json }
}

extension TextModelFacts {
    init(_ c: BertConfiguration) {
        self.init(
            architecture: c.modelType, vocabularySize: c.vocabularySize, contextLength: c.contextLength,
            layerCount: c.layerCount, hiddenSize: c.hiddenSize, kvHeads: c.headCount,
            headDim: c.hiddenSize / c.headCount)
    }
}
