// GPT-2 (Radford et al., 2019): learned positions, layer normalisation before each half of a block, GELU. Parameter
// names are those of Hugging Face checkpoints, whose projections are stored transposed, [inputs, outputs].

import MoruBase
import MoruNN
import MoruTensor

/// One layer: attention, then the feed-forward, each normalised before and added to the residual stream.
struct GPT2Block: DecoderBlock {
    let attentionNorm, feedForwardNorm: LayerNorm
    let queryKeyValue, output, up, down: Linear
    let layer, heads: Int
    let options: AttentionOptions
    let activation: Activation

    init(_ weights: Weights, _ configuration: GPT2Configuration, layer: Int) throws(MoruError) {
        let c = configuration
        let (dim, epsilon) = (c.hiddenSize, c.normEpsilon)
        (self.layer, heads, activation) = (layer, c.headCount, c.activation)
        // Projections into the residual stream start smaller, by the root of their number
        let residual = Initialization.normal(standardDeviation: 0.02 / Float(2 * c.layerCount).squareRoot())
        attentionNorm = try weights.layerNorm("ln_1", dim: dim, epsilon: epsilon)
        queryKeyValue = try weights["attn"].transposedLinear("c_attn", inputs: dim, outputs: 3 * dim)
        output = try weights["attn"].transposedLinear("c_proj", inputs: dim, outputs: dim, residual)
        feedForwardNorm = try weights.layerNorm("ln_2", dim: dim, epsilon: epsilon)
        up = try weights["mlp"].transposedLinear("c_fc", inputs: dim, outputs: c.intermediateSize)
        down = try weights["mlp"].transposedLinear("c_proj", inputs: c.intermediateSize, outputs: dim, residual)
        options = AttentionOptions(scale: c.scoreScale(layer: layer))
    }

    func callAsFunction(_ x: Tensor, _ batch: TokenBatch, _ context: LayerContext) -> Tensor {
        let (n, dim) = (x.shape[0], x.shape[1])
        let projected = queryKeyValue(attentionNorm(x), context)
        let parts = (0..<3).map { projected.columns($0 * dim..<($0 + 1) * dim).reshaped(n, heads, dim / heads) }
        let mixed = batch.attend(q: parts[0], k: parts[1], v: parts[2], layer: layer, options)
        let h = x + output(mixed.reshaped(n, dim), context)
        return h + down(up(feedForwardNorm(h), context).activated(by: activation), context)
    }

    var linears: [Linear] { [queryKeyValue, output, up, down] }
    var parameters: [Parameter] {
        attentionNorm.parameters + queryKeyValue.parameters + output.parameters + feedForwardNorm.parameters
            + up.parameters + down.parameters
    }
}

/// A language model of the GPT-2 family.
public final class GPT2: Decoder {
    /// The configuration.
    public let configuration: GPT2Configuration
    let trunk: DecoderTrunk<GPT2Block, LayerNorm>

    /// Builds the model from its parameters.
    ///
    /// - Throws: What the source of the weights throws.
    public init(_ configuration: GPT2Configuration, _ weights: Weights) throws(MoruError) {
        self.configuration = configuration
        let c = configuration
        // The first published checkpoints name the trunk's parameters without a prefix
        let place = weights.contains("transformer.wte.weight") ? weights["transformer"] : weights
        let tokens = try place.embedding("wte", count: c.vocabularySize, dim: c.hiddenSize)
        trunk = DecoderTrunk(
            tokens: tokens,
            positions: try place.embedding("wpe", count: c.contextLength, dim: c.hiddenSize),
            blocks: try place["h"].blocks(c.layerCount, c, GPT2Block.init),
            norm: try place.layerNorm("ln_f", dim: c.hiddenSize, epsilon: c.normEpsilon),
            outputProjection: try weights.outputProjection("lm_head", of: tokens, isTied: c.tiesEmbeddings))
    }

    /// The last hidden states [N, D], normalised. Positions must lie below the context length.
    public func hiddenStates(_ tokens: TokenBatch) -> Tensor {
        let (embedded, batch) = trunk.embedded(tokens)
        return trunk.hiddenStates(embedded, batch) { block, x, context in block(x, batch, context) }
    }

    /// The projections of the blocks.
    public var transposedPaths: Set<String> { Set(linears.map(\.weight.path)) }

    /// The facts that callers need.
    public var facts: TextModelFacts {
        TextModelFacts(
            architecture: GPT2Configuration.modelType, vocabularySize: configuration.vocabularySize,
            contextLength: configuration.contextLength, layerCount: configuration.layerCount,
            hiddenSize: configuration.hiddenSize, kvHeads: configuration.headCount,
            headDim: configuration.hiddenSize / configuration.headCount)
    }

    /// The configuration as `config.json`.
    public var configurationJSON: JSON { configuration.json }
}

extension Weights {
    /// A layer with a bias whose weight is stored [inputs, outputs], as transformers' `Conv1D` does; held as others are.
    fileprivate func transposedLinear(
        _ name: String, inputs: Int, outputs: Int,
        _ initialization: Initialization = .normal(standardDeviation: 0.02)
    ) throws(MoruError) -> Linear {
        let place = self[name]
        let stored = try source.weight(place.join("weight"), shape: [inputs, outputs], initialization)
        return Linear(
            path: place.path, weight: Parameter(place.join("weight"), stored.transposedCopy()),
            bias: try place.parameter("bias", [outputs], .zeros))
    }
}
