// GPT-2 (Radford et al., 2019): learned positions, layer normalisation before each half of a block, GELU. Parameter
// names are those of Hugging Face checkpoints, whose projections are stored transposed, [inputs, outputs].

import MoruBase
import MoruNN
import MoruTensor

/// One layer: attention, then the feed-forward, each normalised before and added to the residual stream.
struct GPT2Block: Sendable {
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
public final class GPT2: LanguageModel {
    /// The configuration.
    public let configuration: GPT2Configuration
    /// The output projection; the embedding table where they are tied.
    public let outputProjection: Parameter
    private let tokenEmbedding, positionEmbedding: Embedding
    private let blocks: [GPT2Block]
    private let norm: LayerNorm

    /// Builds the model from its parameters.
    ///
    /// - Throws: What the source of the weights throws.
    public init(_ configuration: GPT2Configuration, _ weights: Weights) throws(MoruError) {
        self.configuration = configuration
        let (dim, vocabulary) = (configuration.hiddenSize, configuration.vocabularySize)
        // The first published checkpoints name the trunk's parameters without a prefix
        let trunk = weights.contains("transformer.wte.weight") ? weights["transformer"] : weights
        tokenEmbedding = try trunk.embedding("wte", count: vocabulary, dim: dim)
        positionEmbedding = try trunk.embedding("wpe", count: configuration.contextLength, dim: dim)
        var blocks: [GPT2Block] = []
        for layer in 0..<configuration.layerCount {
            blocks.append(try GPT2Block(trunk["h"][layer], configuration, layer: layer))
        }
        self.blocks = blocks
        norm = try trunk.layerNorm("ln_f", dim: dim, epsilon: configuration.normEpsilon)
        outputProjection =
            configuration.tiesEmbeddings
            ? tokenEmbedding.weight : try weights["lm_head"].parameter("weight", [vocabulary, dim])
    }

    /// The last hidden states [N, D], normalised. Positions must lie below the context length.
    public func hiddenStates(_ tokens: TokenBatch) -> Tensor {
        let (embedded, batch) = tokens.embedded(by: tokenEmbedding)
        let context = batch.layerContext
        var x = embedded + positionEmbedding(batch.positions.map(Int32.init))
        for block in blocks { x = block(x, batch, context) }
        batch.advanceCaches()
        return norm(batch.tokenRows(of: x))
    }

    /// The table that turns tokens into vectors.
    public var inputEmbedding: Embedding? { tokenEmbedding }

    /// The linear layers of the blocks.
    public var linears: [Linear] { blocks.flatMap(\.linears) }

    /// Every parameter.
    public var parameters: [Parameter] {
        let head = configuration.tiesEmbeddings ? [] : [outputProjection]
        return [tokenEmbedding.weight, positionEmbedding.weight] + blocks.flatMap(\.parameters) + norm.parameters + head
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
