// DistilBERT (Sanh et al., 2019): BERT with half of the layers, no kinds of tokens and no pooler. Parameter names are
// those of Hugging Face checkpoints.

import MoruBase
import MoruNN
import MoruTensor

extension EncoderBlock {
    fileprivate init(distilled weights: Weights, _ configuration: BertConfiguration, layer: Int) throws(MoruError) {
        let c = configuration
        let (dim, inner, epsilon) = (c.hiddenSize, c.intermediateSize, c.normEpsilon)
        let attention = weights["attention"]
        let query = try attention.linear("q_lin", inputs: dim, outputs: dim, bias: true)
        let key = try attention.linear("k_lin", inputs: dim, outputs: dim, bias: true)
        let value = try attention.linear("v_lin", inputs: dim, outputs: dim, bias: true)
        self.init(
            projections: LinearGroup(query, key, value),
            output: try attention.linear("out_lin", inputs: dim, outputs: dim, bias: true),
            attentionNorm: try weights.layerNorm("sa_layer_norm", dim: dim, epsilon: epsilon),
            up: try weights["ffn"].linear("lin1", inputs: dim, outputs: inner, bias: true),
            down: try weights["ffn"].linear("lin2", inputs: inner, outputs: dim, bias: true),
            outputNorm: try weights.layerNorm("output_layer_norm", dim: dim, epsilon: epsilon),
            layer: layer, heads: c.headCount, activation: c.activation)
    }
}

/// A DistilBERT encoder.
public final class DistilBert: TextModel {
    /// The configuration.
    public let configuration: BertConfiguration
    private let trunk: EncoderTrunk

    /// Builds the model from its parameters.
    ///
    /// - Parameter weights: The place of the network's parameters: `embeddings` and `transformer`.
    /// - Throws: What the source of the weights throws.
    public init(_ configuration: BertConfiguration, _ weights: Weights) throws(MoruError) {
        self.configuration = configuration
        let c = configuration
        var blocks: [EncoderBlock] = []
        for layer in 0..<c.layerCount {
            blocks.append(try EncoderBlock(distilled: weights["transformer"]["layer"][layer], c, layer: layer))
        }
        let place = weights["embeddings"]
        trunk = EncoderTrunk(
            tokens: try place.embedding("word_embeddings", count: c.vocabularySize, dim: c.hiddenSize),
            positions: try place.embedding("position_embeddings", count: c.positionCount, dim: c.hiddenSize),
            tokenTypes: nil, norm: try place.layerNorm("LayerNorm", dim: c.hiddenSize, epsilon: c.normEpsilon),
            blocks: blocks, firstPosition: 0)
    }

    /// The last hidden states [N, D]. Positions must lie below the context length.
    public func hiddenStates(_ batch: TokenBatch) -> Tensor { trunk.hiddenStates(batch) }

    /// The table that turns tokens into vectors.
    public var inputEmbedding: Embedding? { trunk.tokens }

    /// The linear layers of the blocks.
    public var linears: [Linear] { trunk.linears }

    /// Every parameter.
    public var parameters: [Parameter] { trunk.parameters }

    /// The facts that callers need.
    public var facts: TextModelFacts { TextModelFacts(configuration) }

    /// The configuration as `config.json`.
    public var configurationJSON: JSON { configuration.json }
}
