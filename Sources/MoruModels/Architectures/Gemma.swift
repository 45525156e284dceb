// Gemma 2 (Gemma Team, 2024) and the text part of Gemma 3 (Gemma Team, 2025). Parameter names are those of Hugging Face
// checkpoints.

import MoruBase
import MoruNN
import MoruTensor

/// The angles of a batch's rows, for layers that see everything and for those with a window.
struct GemmaAngles {
    let global, local: RotaryAngles
}

/// Self-attention with rotary positions and grouped queries, over everything or a window.
struct GemmaAttention: Sendable {
    /// Queries, keys and values.
    let projections: LinearGroup
    let output: Linear
    let queryNorm, keyNorm: RMSNorm?
    let layer, heads, kvHeads, headDim: Int
    let options: AttentionOptions

    init(_ weights: Weights, _ configuration: GemmaConfiguration, layer: Int) throws(MoruError) {
        let (c, bias) = (configuration, configuration.hasAttentionBias)
        (self.layer, heads, kvHeads, headDim) = (layer, c.headCount, c.kvHeadCount, c.headDim)
        projections = try weights.queryKeyValue(
            inputs: c.hiddenSize, queries: heads * headDim, keys: kvHeads * headDim, bias: bias)
        output = try weights.linear("o_proj", inputs: heads * headDim, outputs: c.hiddenSize, bias: bias)
        let isNormalized = c.normalizesQueriesAndKeys
        queryNorm = isNormalized ? try weights.gemmaNorm("q_norm", dim: headDim, c) : nil
        keyNorm = isNormalized ? try weights.gemmaNorm("k_norm", dim: headDim, c) : nil
        options = AttentionOptions(scale: c.scoreScale, window: c.windows[layer], softcap: c.scoreSoftcap)
    }

    func callAsFunction(_ x: Tensor, _ batch: TokenBatch, _ angles: GemmaAngles, _ context: LayerContext) -> Tensor {
        let n = x.shape[0]
        let projected = projections(x, context)
        var q = projected[0].reshaped(n, heads, headDim)
        var k = projected[1].reshaped(n, kvHeads, headDim)
        let v = projected[2].reshaped(n, kvHeads, headDim)
        if let queryNorm { q = queryNorm(q) }
        if let keyNorm { k = keyNorm(k) }
        let turn = options.window == nil ? angles.global : angles.local
        let mixed = batch.attend(q: q.rope(turn), k: k.rope(turn), v: v, layer: layer, options)
        return output(mixed.reshaped(n, heads * headDim), context)
    }

    var linears: [Linear] { projections.members + [output] }
    var norms: [RMSNorm] { [queryNorm, keyNorm].compactMap { $0 } }
}

/// The gated feed-forward.
struct GemmaFeedForward: Sendable {
    /// The gate, and what it gates.
    let gated: LinearGroup
    let down: Linear
    let activation: Activation

    init(_ weights: Weights, _ configuration: GemmaConfiguration) throws(MoruError) {
        let (dim, inner) = (configuration.hiddenSize, configuration.intermediateSize)
        gated = try weights.gateUp(inputs: dim, outputs: inner)
        down = try weights.linear("down_proj", inputs: inner, outputs: dim)
        activation = configuration.activation
    }

    func callAsFunction(_ x: Tensor, _ context: LayerContext) -> Tensor {
        let parts = gated(x, context)
        return down(gate: parts[0], up: parts[1], by: activation, context)
    }

    var linears: [Linear] { gated.members + [down] }
}

/// One layer: attention, then the feed-forward, each normalised before and after, and added to the residual stream.
struct GemmaBlock: DecoderBlock {
    let inputNorm, postAttentionNorm, preFeedForwardNorm, postFeedForwardNorm: RMSNorm
    let attention: GemmaAttention
    let feedForward: GemmaFeedForward

    init(_ weights: Weights, _ configuration: GemmaConfiguration, layer: Int) throws(MoruError) {
        let (c, dim) = (configuration, configuration.hiddenSize)
        inputNorm = try weights.gemmaNorm("input_layernorm", dim: dim, c)
        attention = try GemmaAttention(weights["self_attn"], c, layer: layer)
        postAttentionNorm = try weights.gemmaNorm("post_attention_layernorm", dim: dim, c)
        preFeedForwardNorm = try weights.gemmaNorm("pre_feedforward_layernorm", dim: dim, c)
        feedForward = try GemmaFeedForward(weights["mlp"], c)
        postFeedForwardNorm = try weights.gemmaNorm("post_feedforward_layernorm", dim: dim, c)
    }

    func callAsFunction(
        _ stream: ResidualStream, _ batch: TokenBatch, _ angles: GemmaAngles, _ context: LayerContext
    ) -> ResidualStream {
        let type = activationType
        let first = inputNorm(stream.sum, adding: stream.delta, as: type)
        let mixed = postAttentionNorm(attention(first.normalized, batch, angles, context))
        let second = preFeedForwardNorm(first.sum, adding: mixed, as: type)
        return ResidualStream(
            sum: second.sum, delta: postFeedForwardNorm(feedForward(second.normalized, context)))
    }

    var linears: [Linear] { attention.linears + feedForward.linears }
    var parameters: [Parameter] {
        let norms = [inputNorm, postAttentionNorm, preFeedForwardNorm, postFeedForwardNorm]
        return linears.flatMap(\.parameters) + (attention.norms + norms).map(\.weight)
    }
}

/// A language model of the Gemma family, from the second generation on.
public final class Gemma: Decoder {
    /// The configuration.
    public let configuration: GemmaConfiguration
    let trunk: DecoderTrunk<GemmaBlock, RMSNorm>
    private let globalFrequencies, localFrequencies: RotaryFrequencies
    /// The blocks as few rows pass them.
    let prepared = PreparedDecoder()

    /// Builds the model from its parameters.
    ///
    /// - Throws: What the source of the weights throws.
    public init(_ configuration: GemmaConfiguration, _ weights: Weights) throws(MoruError) {
        self.configuration = configuration
        let c = configuration
        let place = weights["model"]
        let table = try place["embed_tokens"].parameter("weight", [c.vocabularySize, c.hiddenSize])
        let tokens = Embedding(weight: table, scale: Self.embeddingScale(c.hiddenSize, table.value.dtype))
        trunk = DecoderTrunk(
            tokens: tokens,
            blocks: try place["layers"].blocks(c.layerCount, c, GemmaBlock.init),
            norm: try place.gemmaNorm("norm", dim: c.hiddenSize, c),
            outputProjection: try weights.outputProjection("lm_head", of: tokens, isTied: c.tiesEmbeddings))
        let (global, local) = (c.globalRotation, c.localRotation)
        globalFrequencies = RotaryFrequencies(global.scaling, dim: c.headDim, base: global.base)
        localFrequencies = RotaryFrequencies(local.scaling, dim: c.headDim, base: local.base)
    }

    /// What token vectors are multiplied by, the root of their elements: rounded to the format of the table as
    /// transformers rounds it (and as the models were trained), to no other where the table is quantised, as llama.cpp
    /// does.
    private static func embeddingScale(_ dim: Int, _ dtype: DType) -> Float {
        let scale = Tensor(Float(dim).squareRoot())
        return dtype == .bf16 || dtype == .f16 ? scale.converted(to: dtype).converted(to: .f32).scalar : scale.scalar
    }

    /// The last hidden states [N, D], normalised.
    public func hiddenStates(_ tokens: TokenBatch) -> Tensor {
        let (embedded, batch) = trunk.embedded(tokens)
        let angles = angles(of: batch)
        if !embedded.isTracked, let rows = batch.singleRows {
            defer { batch.advanceCaches() }
            return hiddenStates(embedded, rows, angles)
        }
        if followsParameters { prepared.forget() }
        return trunk.hiddenStates(embedded, batch) { block, stream, context in block(stream, batch, angles, context) }
    }

    private func angles(of batch: TokenBatch) -> GemmaAngles {
        let global = globalFrequencies.angles(of: batch)
        let isSame = configuration.localRotation == configuration.globalRotation
        return GemmaAngles(global: global, local: isSame ? global : localFrequencies.angles(of: batch))
    }

    /// The cap of logits.
    public var logitTransform: LogitTransform { LogitTransform(softcap: configuration.logitSoftcap) }

    /// The facts that callers need.
    public var facts: TextModelFacts {
        TextModelFacts(
            architecture: configuration.modelType, vocabularySize: configuration.vocabularySize,
            contextLength: configuration.contextLength, layerCount: configuration.layerCount,
            hiddenSize: configuration.hiddenSize, kvHeads: configuration.kvHeadCount, headDim: configuration.headDim)
    }

    /// The configuration as `config.json`.
    public var configurationJSON: JSON { configuration.json }
}

extension Weights {
    /// A normalisation whose weight is what is added to 1.
    fileprivate func gemmaNorm(
        _ name: String, dim: Int, _ configuration: GemmaConfiguration
    ) throws(MoruError) -> RMSNorm {
        try rmsNorm(name, dim: dim, epsilon: configuration.normEpsilon, unitOffset: true)
    }
}
