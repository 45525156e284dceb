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
        let query = try weights.linear("q_proj", inputs: c.hiddenSize, outputs: heads * headDim, bias: bias)
        let key = try weights.linear("k_proj", inputs: c.hiddenSize, outputs: kvHeads * headDim, bias: bias)
        let value = try weights.linear("v_proj", inputs: c.hiddenSize, outputs: kvHeads * headDim, bias: bias)
        projections = LinearGroup(query, key, value)
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
        let gate = try weights.linear("gate_proj", inputs: dim, outputs: inner)
        let up = try weights.linear("up_proj", inputs: dim, outputs: inner)
        self.gated = LinearGroup(gate, up)
        down = try weights.linear("down_proj", inputs: inner, outputs: dim)
        activation = configuration.activation
    }

    func callAsFunction(_ x: Tensor, _ context: LayerContext) -> Tensor {
        let parts = gated(x, context)
        return down(MoruTensor.gated(gate: parts[0], up: parts[1], by: activation), context)
    }

    var linears: [Linear] { gated.members + [down] }
}

/// One layer: attention, then the feed-forward, each normalised before and after, and added to the residual stream.
struct GemmaBlock: Sendable {
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

    /// Takes the residual stream and what the block below adds to it; hands on the same.
    func callAsFunction(
        _ x: Tensor, adding delta: Tensor?, _ batch: TokenBatch, _ angles: GemmaAngles, _ context: LayerContext
    ) -> (residual: Tensor, delta: Tensor) {
        let type = activationType
        let first = inputNorm(x, adding: delta, as: type)
        let mixed = postAttentionNorm(attention(first.normalized, batch, angles, context))
        let second = preFeedForwardNorm(first.sum, adding: mixed, as: type)
        return (second.sum, postFeedForwardNorm(feedForward(second.normalized, context)))
    }

    /// The same, its activations computed again for the backward pass.
    func recomputing(
        _ x: Tensor, adding delta: Tensor?, _ batch: TokenBatch, _ angles: GemmaAngles, _ context: LayerContext
    ) -> (residual: Tensor, delta: Tensor) {
        let results = recomputed([x] + (delta.map { [$0] } ?? []), dropout: context.dropout) { inputs in
            let result = self(inputs[0], adding: inputs.count > 1 ? inputs[1] : nil, batch, angles, context)
            return [result.residual, result.delta]
        }
        return (results[0], results[1])
    }

    var linears: [Linear] { attention.linears + feedForward.linears }
    var parameters: [Parameter] {
        let norms = [inputNorm, postAttentionNorm, preFeedForwardNorm, postFeedForwardNorm]
        return linears.flatMap(\.parameters) + (attention.norms + norms).map(\.weight)
    }
}

/// A language model of the Gemma family, from the second generation on.
public final class Gemma: LanguageModel {
    /// The configuration.
    public let configuration: GemmaConfiguration
    /// The output projection; the embedding table where they are tied.
    public let outputProjection: Parameter
    private let tokenEmbedding: Embedding
    let blocks: [GemmaBlock]
    let norm: RMSNorm
    private let globalFrequencies, localFrequencies: [Double]

    /// Builds the model from its parameters.
    ///
    /// - Throws: What the source of the weights throws.
    public init(_ configuration: GemmaConfiguration, _ weights: Weights) throws(MoruError) {
        self.configuration = configuration
        let (dim, vocabulary) = (configuration.hiddenSize, configuration.vocabularySize)
        let trunk = weights["model"]
        let table = try trunk["embed_tokens"].parameter("weight", [vocabulary, dim])
        tokenEmbedding = Embedding(weight: table, scale: Self.embeddingScale(dim, table.value.dtype))
        var blocks: [GemmaBlock] = []
        for layer in 0..<configuration.layerCount {
            blocks.append(try GemmaBlock(trunk["layers"][layer], configuration, layer: layer))
        }
        self.blocks = blocks
        norm = try trunk.gemmaNorm("norm", dim: dim, configuration)
        outputProjection =
            configuration.tiesEmbeddings ? table : try weights["lm_head"].parameter("weight", [vocabulary, dim])
        globalFrequencies = configuration.globalRotation.inverseFrequencies(headDim: configuration.headDim)
        localFrequencies = configuration.localRotation.inverseFrequencies(headDim: configuration.headDim)
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
        let (embedded, batch) = tokens.embedded(by: tokenEmbedding)
        let angles = angles(of: batch)
        if !embedded.isTracked, let rows = batch.singleRows {
            defer { batch.advanceCaches() }
            return hiddenStates(embedded, rows, angles)
        }
        let context = batch.layerContext
        var stream: (residual: Tensor, delta: Tensor?) = (embedded, nil)
        let recomputes = Runtime.shared.recomputesActivations
        for block in blocks {
            stream =
                recomputes
                ? block.recomputing(stream.residual, adding: stream.delta, batch, angles, context)
                : block(stream.residual, adding: stream.delta, batch, angles, context)
        }
        batch.advanceCaches()
        return norm(batch.tokenRows(of: stream.residual), adding: stream.delta.map(batch.tokenRows)).normalized
    }

    private func angles(of batch: TokenBatch) -> GemmaAngles {
        let positions = batch.positions
        let (global, local) = (configuration.globalRotation, configuration.localRotation)
        let turned = RotaryAngles(
            positions: positions, inverseFrequencies: globalFrequencies,
            attentionFactor: global.scaling.attentionFactor)
        guard local != global else { return GemmaAngles(global: turned, local: turned) }
        return GemmaAngles(
            global: turned,
            local: RotaryAngles(
                positions: positions, inverseFrequencies: localFrequencies,
                attentionFactor: local.scaling.attentionFactor))
    }

    /// The cap of logits.
    public var logitTransform: LogitTransform { LogitTransform(softcap: configuration.logitSoftcap) }

    /// The table that turns tokens into vectors.
    public var inputEmbedding: Embedding? { tokenEmbedding }

    /// The linear layers of the blocks.
    public var linears: [Linear] { blocks.flatMap(\.linears) }

    /// Every parameter.
    public var parameters: [Parameter] {
        let head = configuration.tiesEmbeddings ? [] : [outputProjection]
        return [tokenEmbedding.weight] + blocks.flatMap(\.parameters) + [norm.weight] + head
    }

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
