// OLMo 2 (OLMo Team, 2024): a decoder with the parts of Llama, but nothing is normalised before attention and
// feed-forward: what they give is, and so are queries and keys, over all heads together. Parameter names are those of
// Hugging Face checkpoints.

import MoruBase
import MoruNN
import MoruTensor

/// Self-attention with rotary positions, grouped queries, and normalised queries and keys.
struct OLMo2Attention: Sendable {
    /// Queries, keys and values.
    let projections: LinearGroup
    let output: Linear
    /// Over the elements of all heads.
    let queryNorm, keyNorm: RMSNorm
    let layer, heads, kvHeads, headDim: Int
    let options: AttentionOptions

    init(_ weights: Weights, _ configuration: LlamaConfiguration, layer: Int) throws(MoruError) {
        let c = configuration
        (self.layer, heads, kvHeads, headDim) = (layer, c.headCount, c.kvHeadCount, c.headDim)
        let (queries, keys) = (heads * headDim, kvHeads * headDim)
        projections = try weights.queryKeyValue(
            inputs: c.hiddenSize, queries: queries, keys: keys, bias: c.hasQKVBias)
        output = try weights.linear("o_proj", inputs: queries, outputs: c.hiddenSize, bias: c.hasOutputBias)
        queryNorm = try weights.rmsNorm("q_norm", dim: queries, epsilon: c.normEpsilon)
        keyNorm = try weights.rmsNorm("k_norm", dim: keys, epsilon: c.normEpsilon)
        options = AttentionOptions(scale: c.scoreScale)
    }

    func callAsFunction(_ x: Tensor, _ batch: TokenBatch, _ angles: RotaryAngles, _ context: LayerContext) -> Tensor {
        let n = x.shape[0]
        let projected = projections(x, context)
        let q = queryNorm(projected[0]).reshaped(n, heads, headDim).rope(angles)
        let k = keyNorm(projected[1]).reshaped(n, kvHeads, headDim).rope(angles)
        let v = projected[2].reshaped(n, kvHeads, headDim)
        let mixed = batch.attend(q: q, k: k, v: v, layer: layer, options)
        return output(mixed.reshaped(n, heads * headDim), context)
    }

    var linears: [Linear] { projections.members + [output] }
}

/// One layer: attention, then the feed-forward, each normalised after and added to the residual stream.
struct OLMo2Block: DecoderBlock {
    let attention: OLMo2Attention
    let postAttentionNorm, postFeedForwardNorm: RMSNorm
    let feedForward: LlamaFeedForward

    init(_ weights: Weights, _ configuration: LlamaConfiguration, layer: Int) throws(MoruError) {
        let (dim, epsilon) = (configuration.hiddenSize, configuration.normEpsilon)
        attention = try OLMo2Attention(weights["self_attn"], configuration, layer: layer)
        postAttentionNorm = try weights.rmsNorm("post_attention_layernorm", dim: dim, epsilon: epsilon)
        postFeedForwardNorm = try weights.rmsNorm("post_feedforward_layernorm", dim: dim, epsilon: epsilon)
        feedForward = try LlamaFeedForward(weights["mlp"], configuration)
    }

    func callAsFunction(_ x: Tensor, _ batch: TokenBatch, _ angles: RotaryAngles, _ context: LayerContext) -> Tensor {
        let h = x + postAttentionNorm(attention(x, batch, angles, context))
        return h + postFeedForwardNorm(feedForward(h, context))
    }

    var linears: [Linear] { attention.linears + feedForward.linears }
    var parameters: [Parameter] {
        linears.flatMap(\.parameters)
            + [attention.queryNorm, attention.keyNorm, postAttentionNorm, postFeedForwardNorm].map(\.weight)
    }
}

/// A language model of the OLMo 2 family.
public final class OLMo2: Decoder {
    static let modelType = "olmo2"

    /// The configuration, in the keys of the Llama family.
    public let configuration: LlamaConfiguration
    let trunk: DecoderTrunk<OLMo2Block, RMSNorm>
    private let frequencies: RotaryFrequencies

    /// Builds the model from its parameters.
    ///
    /// - Throws: What the source of the weights throws.
    public init(_ configuration: LlamaConfiguration, _ weights: Weights) throws(MoruError) {
        self.configuration = configuration
        trunk = try DecoderTrunk(configuration, weights, OLMo2Block.init)
        frequencies = RotaryFrequencies(configuration)
    }

    /// The last hidden states [N, D], normalised.
    public func hiddenStates(_ tokens: TokenBatch) -> Tensor {
        let (embedded, batch) = trunk.embedded(tokens)
        let angles = frequencies.angles(of: batch)
        return trunk.hiddenStates(embedded, batch) { block, x, context in block(x, batch, angles, context) }
    }

    /// The facts that callers need.
    public var facts: TextModelFacts { configuration.facts }

    /// The configuration as `config.json`.
    public var configurationJSON: JSON { configuration.json }
}

extension GGUFLayout {
    /// OLMo 2. Files of OLMo 3 say the same architecture, with windows that OLMo 2 does not have.
    static let olmo2 = GGUFLayout(names: [OLMo2.modelType]) { file throws(MoruError) in
        let reader = GGUFConfigurationReader(file: file, prefix: OLMo2.modelType)
        try reader.refuse("attention.sliding_window", unless: 0)
        let configuration = try LlamaConfiguration(gguf: file)
        return Reading(
            entry: OLMo2.ggufNames.entry,
            build: { weights throws(MoruError) in try OLMo2(configuration, weights) })
    }
}

extension OLMo2 {
    /// What GGUF calls the parameters.
    static let ggufNames = GGUFNames(
        blocks: "model.layers", outer: LlamaConfiguration.ggufNames.outer,
        inner: LlamaConfiguration.ggufNames.inner.merging(
            [
                "post_attention_layernorm": "post_attention_norm",
                "post_feedforward_layernorm": "post_ffw_norm",
            ], uniquingKeysWith: { $1 }))
}
