// GPT-NeoX (Black et al., 2022) and Pythia (Biderman et al., 2023): rotary positions on a part of each head, layer
// normalisation, attention and feed-forward side by side. Parameter names are those of Hugging Face checkpoints.

import MoruBase
import MoruNN
import MoruTensor

/// Self-attention whose queries, keys and values are one projection, head by head.
struct GPTNeoXAttention: Sendable {
    /// [heads * 3 * headDim, hidden]: of each head the query, the key and the value.
    let queryKeyValue: Linear
    let output: Linear
    let layer, heads, headDim: Int
    let options: AttentionOptions

    init(_ weights: Weights, _ configuration: GPTNeoXConfiguration, layer: Int) throws(MoruError) {
        let (dim, bias) = (configuration.hiddenSize, configuration.hasAttentionBias)
        (self.layer, heads, headDim) = (layer, configuration.headCount, configuration.headDim)
        queryKeyValue = try weights.linear("query_key_value", inputs: dim, outputs: 3 * dim, bias: bias)
        output = try weights.linear("dense", inputs: dim, outputs: dim, bias: bias)
        options = AttentionOptions(scale: 1 / Float(headDim).squareRoot())
    }

    func callAsFunction(_ x: Tensor, _ batch: TokenBatch, _ angles: RotaryAngles, _ context: LayerContext) -> Tensor {
        let n = x.shape[0]
        let byHead = queryKeyValue(x, context).reshaped(n * heads, 3 * headDim)
        let parts = (0..<3).map { byHead.columns($0 * headDim..<($0 + 1) * headDim).reshaped(n, heads, headDim) }
        let mixed = batch.attend(
            q: parts[0].rope(angles), k: parts[1].rope(angles), v: parts[2], layer: layer, options)
        return output(mixed.reshaped(n, heads * headDim), context)
    }

    var linears: [Linear] { [queryKeyValue, output] }
}

/// One layer: attention and feed-forward, each normalised before, added to the residual stream together or in turn.
struct GPTNeoXBlock: DecoderBlock {
    let inputNorm, postAttentionNorm: LayerNorm
    let attention: GPTNeoXAttention
    let up, down: Linear
    let activation: Activation
    let isParallel: Bool

    init(_ weights: Weights, _ configuration: GPTNeoXConfiguration, layer: Int) throws(MoruError) {
        let (dim, inner) = (configuration.hiddenSize, configuration.intermediateSize)
        (activation, isParallel) = (configuration.activation, configuration.isParallel)
        inputNorm = try weights.layerNorm("input_layernorm", dim: dim, epsilon: configuration.normEpsilon)
        postAttentionNorm = try weights.layerNorm(
            "post_attention_layernorm", dim: dim, epsilon: configuration.normEpsilon)
        attention = try GPTNeoXAttention(weights["attention"], configuration, layer: layer)
        up = try weights["mlp"].linear("dense_h_to_4h", inputs: dim, outputs: inner, bias: true)
        down = try weights["mlp"].linear("dense_4h_to_h", inputs: inner, outputs: dim, bias: true)
    }

    func callAsFunction(_ x: Tensor, _ batch: TokenBatch, _ angles: RotaryAngles, _ context: LayerContext) -> Tensor {
        let h = x + attention(inputNorm(x), batch, angles, context)
        let normalized = postAttentionNorm(isParallel ? x : h)
        return h + down(up(normalized, context).activated(by: activation), context)
    }

    var linears: [Linear] { attention.linears + [up, down] }
    var parameters: [Parameter] {
        inputNorm.parameters + postAttentionNorm.parameters + linears.flatMap(\.parameters)
    }
}

/// A language model of the GPT-NeoX family.
public final class GPTNeoX: Decoder {
    /// The configuration.
    public let configuration: GPTNeoXConfiguration
    let trunk: DecoderTrunk<GPTNeoXBlock, LayerNorm>
    private let frequencies: RotaryFrequencies

    /// Builds the model from its parameters.
    ///
    /// - Throws: What the source of the weights throws.
    public init(_ configuration: GPTNeoXConfiguration, _ weights: Weights) throws(MoruError) {
        self.configuration = configuration
        let c = configuration
        let place = weights["gpt_neox"]
        let tokens = try place.embedding("embed_in", count: c.vocabularySize, dim: c.hiddenSize)
        trunk = DecoderTrunk(
            tokens: tokens,
            blocks: try place["layers"].blocks(c.layerCount, c, GPTNeoXBlock.init),
            norm: try place.layerNorm("final_layer_norm", dim: c.hiddenSize, epsilon: c.normEpsilon),
            outputProjection: try weights.outputProjection("embed_out", of: tokens, isTied: c.tiesEmbeddings))
        frequencies = RotaryFrequencies(c.ropeScaling, dim: c.rotatedDim, base: c.ropeBase)
    }

    /// The last hidden states [N, D], normalised.
    public func hiddenStates(_ tokens: TokenBatch) -> Tensor {
        let (embedded, batch) = trunk.embedded(tokens)
        let angles = frequencies.angles(of: batch)
        return trunk.hiddenStates(embedded, batch) { block, x, context in block(x, batch, angles, context) }
    }

    /// The facts that callers need.
    public var facts: TextModelFacts {
        TextModelFacts(
            architecture: GPTNeoXConfiguration.modelType, vocabularySize: configuration.vocabularySize,
            contextLength: configuration.contextLength, layerCount: configuration.layerCount,
            hiddenSize: configuration.hiddenSize, kvHeads: configuration.headCount, headDim: configuration.headDim)
    }

    /// The configuration as `config.json`.
    public var configurationJSON: JSON { configuration.json }
}

extension GGUFLayout {
    /// GPT-NeoX and Pythia.
    static let gptNeoX = GGUFLayout(names: ["gptneox"]) { file throws(MoruError) in
        let configuration = try GPTNeoXConfiguration(gguf: file)
        return Reading(
            entry: { path in
                let heads = path.contains(".query_key_value.") ? configuration.headCount : nil
                return GPTNeoX.ggufNames[path].map { CheckpointWeights.Entry(name: $0, separatedHeads: heads) }
            },
            build: { weights throws(MoruError) in try GPTNeoX(configuration, weights) })
    }
}

extension GPTNeoX {
    /// What GGUF calls the parameters.
    static let ggufNames = GGUFNames(
        blocks: "gpt_neox.layers",
        outer: [
            "gpt_neox.embed_in": "token_embd", "gpt_neox.final_layer_norm": "output_norm", "embed_out": "output",
        ],
        inner: [
            "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
            "attention.query_key_value": "attn_qkv", "attention.dense": "attn_output",
            "mlp.dense_h_to_4h": "ffn_up", "mlp.dense_4h_to_h": "ffn_down",
        ])
}
