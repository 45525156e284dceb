// The Llama family: Llama 2 and 3 (Touvron et al., 2023; Grattafiori et al., 2024), SmolLM2 and 3, Mistral (Jiang et
// al., 2023), Qwen 2, 2.5 and 3 (Yang et al., 2024, 2025), Granite 3 (Granite Team, 2024), and with mixtures of experts
// Mixtral and Qwen3-MoE. Parameter names are those of Hugging Face checkpoints.

import MoruBase
import MoruNN
import MoruTensor

/// Self-attention with rotary positions and grouped queries.
struct LlamaAttention: Sendable {
    /// Queries, keys and values.
    let projections: LinearGroup
    let output: Linear
    let queryNorm, keyNorm: RMSNorm?
    let layer, heads, kvHeads, headDim: Int
    /// Whether queries and keys get rotary embedding.
    let isRotated: Bool
    let options: AttentionOptions

    init(_ weights: Weights, _ configuration: LlamaConfiguration, layer: Int) throws(MoruError) {
        let c = configuration
        (self.layer, heads, kvHeads, headDim) = (layer, c.headCount, c.kvHeadCount, c.headDim)
        projections = try weights.queryKeyValue(
            inputs: c.hiddenSize, queries: heads * headDim, keys: kvHeads * headDim, bias: c.hasQKVBias)
        output = try weights.linear("o_proj", inputs: heads * headDim, outputs: c.hiddenSize, bias: c.hasOutputBias)
        let isNormalized = c.normalizesQueriesAndKeys
        queryNorm = isNormalized ? try weights.rmsNorm("q_norm", dim: headDim, epsilon: c.normEpsilon) : nil
        keyNorm = isNormalized ? try weights.rmsNorm("k_norm", dim: headDim, epsilon: c.normEpsilon) : nil
        isRotated = c.rotates[layer]
        options = AttentionOptions(scale: c.scoreScale, window: c.windows[layer])
    }

    func callAsFunction(_ x: Tensor, _ batch: TokenBatch, _ angles: RotaryAngles, _ context: LayerContext) -> Tensor {
        let n = x.shape[0]
        let projected = projections(x, context)
        var q = projected[0].reshaped(n, heads, headDim)
        var k = projected[1].reshaped(n, kvHeads, headDim)
        let v = projected[2].reshaped(n, kvHeads, headDim)
        if let queryNorm { q = queryNorm(q) }
        if let keyNorm { k = keyNorm(k) }
        if isRotated { (q, k) = (q.rope(angles), k.rope(angles)) }
        let mixed = batch.attend(q: q, k: k, v: v, layer: layer, options)
        return output(mixed.reshaped(n, heads * headDim), context)
    }

    var linears: [Linear] { projections.members + [output] }
    var norms: [RMSNorm] { [queryNorm, keyNorm].compactMap { $0 } }
}

/// The feed-forward part of a block: dense, or a mixture of experts.
enum LlamaBlockFeedForward: Sendable {
    case dense(LlamaFeedForward)
    case experts(MixtureOfExperts)

    /// - Parameter weights: The weights of the whole block.
    init(_ weights: Weights, _ configuration: LlamaConfiguration, layer: Int) throws(MoruError) {
        if let layout = LlamaMember.all[configuration.modelType]?.experts, let experts = configuration.experts,
            experts.layers[layer]
        {
            self = .experts(try layout.mixture(weights, experts, dim: configuration.hiddenSize))
        } else {
            self = .dense(try LlamaFeedForward(weights["mlp"], configuration))
        }
    }

    func callAsFunction(_ x: Tensor, _ context: LayerContext) -> (output: Tensor, routerLogits: Tensor?) {
        switch self {
        case .dense(let layer): (layer(x, context), nil)
        case .experts(let layer): layer(x, context)
        }
    }

    var linears: [Linear] {
        switch self {
        case .dense(let layer): layer.linears
        case .experts(let layer): layer.linears
        }
    }

    var parameters: [Parameter] {
        let own = linears.flatMap(\.parameters)
        guard case .experts(let layer) = self else { return own }
        return [layer.router] + own
    }
}

/// The gated feed-forward.
struct LlamaFeedForward: Sendable {
    /// The gate and up projections.
    let gated: LinearGroup
    let down: Linear

    init(_ weights: Weights, _ configuration: LlamaConfiguration) throws(MoruError) {
        let (dim, inner, bias) = (
            configuration.hiddenSize, configuration.intermediateSize, configuration.hasFeedForwardBias
        )
        gated = try weights.gateUp(inputs: dim, outputs: inner, bias: bias)
        down = try weights.linear("down_proj", inputs: inner, outputs: dim, bias: bias)
    }

    func callAsFunction(_ x: Tensor, _ context: LayerContext) -> Tensor {
        let parts = gated(x, context)
        return down(gate: parts[0], up: parts[1], by: .silu, context)
    }

    var linears: [Linear] { gated.members + [down] }
}

/// One layer: attention, then the feed-forward, each with a norm before it and added to the residual stream.
struct LlamaBlock: DecoderBlock {
    let inputNorm, postAttentionNorm: RMSNorm
    let attention: LlamaAttention
    let feedForward: LlamaBlockFeedForward
    /// The scale of what the block adds to the residual stream.
    let residualScale: Float

    init(_ weights: Weights, _ configuration: LlamaConfiguration, layer: Int) throws(MoruError) {
        residualScale = configuration.multipliers.residual
        let (dim, epsilon) = (configuration.hiddenSize, configuration.normEpsilon)
        inputNorm = try weights.rmsNorm("input_layernorm", dim: dim, epsilon: epsilon)
        attention = try LlamaAttention(weights["self_attn"], configuration, layer: layer)
        postAttentionNorm = try weights.rmsNorm("post_attention_layernorm", dim: dim, epsilon: epsilon)
        feedForward = try LlamaBlockFeedForward(weights, configuration, layer: layer)
    }

    func callAsFunction(
        _ stream: ResidualStream, _ batch: TokenBatch, _ angles: RotaryAngles, _ context: LayerContext
    ) -> ResidualStream {
        let type = activationType
        let first = inputNorm(stream.sum, adding: stream.delta, as: type)
        let mixed = attention(first.normalized, batch, angles, context).scaled(by: residualScale)
        let second = postAttentionNorm(first.sum, adding: mixed, as: type)
        let result = feedForward(second.normalized, context)
        return ResidualStream(
            sum: second.sum, delta: result.output.scaled(by: residualScale), routerLogits: result.routerLogits)
    }

    var linears: [Linear] { attention.linears + feedForward.linears }
    var parameters: [Parameter] {
        attention.linears.flatMap(\.parameters) + feedForward.parameters
            + (attention.norms + [inputNorm, postAttentionNorm]).map(\.weight)
    }
}

/// A language model of the Llama family.
public final class Llama: Decoder {
    /// The configuration.
    public let configuration: LlamaConfiguration
    let trunk: DecoderTrunk<LlamaBlock, RMSNorm>
    /// The linear layers of the blocks.
    public let linears: [Linear]
    private let frequencies: RotaryFrequencies
    /// The blocks, prepared for passes of few rows.
    let prepared = PreparedDecoder()

    /// Builds the model from its weights.
    ///
    /// - Throws: What the source of the weights throws.
    public init(_ configuration: LlamaConfiguration, _ weights: Weights) throws(MoruError) {
        self.configuration = configuration
        trunk = try DecoderTrunk(configuration, weights, LlamaBlock.init)
        linears = trunk.blocks.flatMap(\.linears)
        frequencies = RotaryFrequencies(configuration)
    }

    /// The last hidden states [N, D], normalised.
    public func hiddenStates(_ tokens: TokenBatch) -> Tensor {
        let (vectors, batch) = trunk.embedded(tokens)
        let embedded = vectors.scaled(by: configuration.multipliers.embedding)
        let angles = frequencies.angles(of: batch)
        // The pass of single rows does not support adapters on experts
        let isKnown =
            configuration.experts == nil || batch.segments.allSatisfy { $0.adapter?.layers.isEmpty ?? true }
        if !embedded.isTracked, batch.routing == nil, isKnown, let rows = batch.updatedSingleRows {
            defer { batch.advanceCaches() }
            return hiddenStates(embedded, rows, angles, batch.layerContext)
        }
        if followsParameters { prepared.forget() }
        return trunk.hiddenStates(embedded, batch) { block, stream, context in block(stream, batch, angles, context) }
    }

    /// Granite divides its logits.
    public var logitTransform: LogitTransform { LogitTransform(scale: 1 / configuration.multipliers.logitsDivisor) }

    /// The load-balancing loss of the routers in training; nil without experts, or if the configuration asks for none.
    public var routerLoss: RouterLoss? { configuration.experts?.routerLoss }

    /// The facts that callers need.
    public var facts: TextModelFacts { configuration.facts }

    /// The configuration as `config.json`.
    public var configurationJSON: JSON { configuration.json }
}

extension Tensor {
    /// The tensor multiplied by a number; itself where that is 1.
    fileprivate func scaled(by factor: Float) -> Tensor { factor == 1 ? self : self * factor }
}
