// Phi-3 and Phi-4 (Abdin et al., 2024): a decoder like Llama's whose queries, keys and values are one projection, and so
// are the feed-forward's gate and what it gates; rotary positions on a part of each head (Phi-4-mini), stretched by
// LongRoPE (Ding et al., 2024). Parameter names are those of Hugging Face checkpoints.

import MoruBase
import MoruNN
import MoruTensor

/// Self-attention with rotary positions and grouped queries, of one fused projection.
struct Phi3Attention: Sendable {
    /// [(heads + 2 * kvHeads) * headDim, hidden]: all queries, all keys, all values.
    let queryKeyValue: Linear
    let output: Linear
    let layer, heads, kvHeads, headDim: Int
    let options: AttentionOptions

    init(_ weights: Weights, _ configuration: LlamaConfiguration, layer: Int) throws(MoruError) {
        let c = configuration
        (self.layer, heads, kvHeads, headDim) = (layer, c.headCount, c.kvHeadCount, c.headDim)
        queryKeyValue = try weights.linear(
            "qkv_proj", inputs: c.hiddenSize, outputs: (heads + 2 * kvHeads) * headDim)
        output = try weights.linear("o_proj", inputs: heads * headDim, outputs: c.hiddenSize)
        options = AttentionOptions(scale: c.scoreScale, window: c.windows[layer])
    }

    func callAsFunction(_ x: Tensor, _ batch: TokenBatch, _ angles: RotaryAngles, _ context: LayerContext) -> Tensor {
        let n = x.shape[0]
        let (queries, keys) = (heads * headDim, kvHeads * headDim)
        let projected = queryKeyValue(x, context)
        let q = projected.columns(0..<queries).reshaped(n, heads, headDim)
        let k = projected.columns(queries..<queries + keys).reshaped(n, kvHeads, headDim)
        let v = projected.columns(queries + keys..<queries + 2 * keys).reshaped(n, kvHeads, headDim)
        let mixed = batch.attend(q: q.rope(angles), k: k.rope(angles), v: v, layer: layer, options)
        return output(mixed.reshaped(n, queries), context)
    }

    var linears: [Linear] { [queryKeyValue, output] }
}

/// The gated feed-forward, whose gate and what it gates are one projection.
struct Phi3FeedForward: Sendable {
    /// [2 * inner, hidden]: the gate, then what it gates.
    let gateUp: Linear
    let down: Linear

    init(_ weights: Weights, _ configuration: LlamaConfiguration) throws(MoruError) {
        let (dim, inner) = (configuration.hiddenSize, configuration.intermediateSize)
        gateUp = try weights.linear("gate_up_proj", inputs: dim, outputs: 2 * inner)
        down = try weights.linear("down_proj", inputs: inner, outputs: dim)
    }

    func callAsFunction(_ x: Tensor, _ context: LayerContext) -> Tensor {
        let (both, inner) = (gateUp(x, context), down.inputs)
        return down(swiglu(gate: both.columns(0..<inner), up: both.columns(inner..<2 * inner)), context)
    }

    var linears: [Linear] { [gateUp, down] }
}

/// One layer: attention, then the feed-forward, each normalised before and added to the residual stream.
struct Phi3Block: DecoderBlock {
    let inputNorm, postAttentionNorm: RMSNorm
    let attention: Phi3Attention
    let feedForward: Phi3FeedForward

    init(_ weights: Weights, _ configuration: LlamaConfiguration, layer: Int) throws(MoruError) {
        let (dim, epsilon) = (configuration.hiddenSize, configuration.normEpsilon)
        inputNorm = try weights.rmsNorm("input_layernorm", dim: dim, epsilon: epsilon)
        attention = try Phi3Attention(weights["self_attn"], configuration, layer: layer)
        postAttentionNorm = try weights.rmsNorm("post_attention_layernorm", dim: dim, epsilon: epsilon)
        feedForward = try Phi3FeedForward(weights["mlp"], configuration)
    }

    func callAsFunction(_ x: Tensor, _ batch: TokenBatch, _ angles: RotaryAngles, _ context: LayerContext) -> Tensor {
        let h = x + attention(inputNorm(x), batch, angles, context)
        return h + feedForward(postAttentionNorm(h), context)
    }

    var linears: [Linear] { attention.linears + feedForward.linears }
    var parameters: [Parameter] {
        linears.flatMap(\.parameters) + [inputNorm.weight, postAttentionNorm.weight]
    }
}

/// A language model of the Phi-3 family, to which Phi-4 belongs.
public final class Phi3: Decoder {
    static let modelType = "phi3"

    /// The configuration, in the keys of the Llama family.
    public let configuration: LlamaConfiguration
    let trunk: DecoderTrunk<Phi3Block, RMSNorm>
    private let frequencies: RotaryFrequencies

    /// Builds the model from its parameters.
    ///
    /// - Throws: What the source of the weights throws.
    public init(_ configuration: LlamaConfiguration, _ weights: Weights) throws(MoruError) {
        self.configuration = configuration
        trunk = try DecoderTrunk(configuration, weights, Phi3Block.init)
        frequencies = RotaryFrequencies(configuration)
    }

    /// The last hidden states [N, D], normalised.
    ///
    /// A sequence longer than the original context is turned by LongRoPE's long factors, a shorter one by the short
    /// ones, whatever else is in the batch. One with a cache is not meant to grow from the one into the other: its
    /// first keys would stay as they are, which is why ``facts`` give the original context.
    public func hiddenStates(_ tokens: TokenBatch) -> Tensor {
        let (embedded, batch) = trunk.embedded(tokens)
        let angles = frequencies.angles(of: batch)
        return trunk.hiddenStates(embedded, batch) { block, x, context in block(x, batch, angles, context) }
    }

    /// The facts that callers need; of the context, what can be written with the short factors of LongRoPE.
    public var facts: TextModelFacts {
        var facts = configuration.facts
        if let long = frequencies.long { facts.contextLength = min(facts.contextLength, long.originalContext) }
        return facts
    }

    /// The configuration as `config.json`.
    public var configurationJSON: JSON { configuration.json }
}

extension GGUFLayout {
    /// Phi-3 and Phi-4.
    static let phi3 = GGUFLayout(names: [Phi3.modelType]) { file throws(MoruError) in
        let configuration = try LlamaConfiguration(gguf: file)
        return Reading(
            entry: Phi3.ggufNames.entry,
            build: { weights throws(MoruError) in try Phi3(configuration, weights) },
            factors: [Phi3.longFactors, Phi3.shortFactors])
    }
}

extension Phi3 {
    static let ggufNames = GGUFNames(
        blocks: "model.layers", outer: LlamaConfiguration.ggufNames.outer,
        inner: [
            "self_attn.qkv_proj": "attn_qkv", "self_attn.o_proj": "attn_output", "input_layernorm": "attn_norm",
            "post_attention_layernorm": "ffn_norm", "mlp.gate_up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
        ])
    /// The tensors of a GGUF file that hold LongRoPE's factors.
    static let (longFactors, shortFactors) = ("rope_factors_long.weight", "rope_factors_short.weight")
}
