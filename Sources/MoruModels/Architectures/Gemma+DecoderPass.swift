import MoruNN
import MoruTensor

extension Gemma {
    /// The last hidden states of a few rows that nothing but the model acts on: what the blocks would compute, without
    /// making a tensor of every step.
    func hiddenStates(_ embedded: Tensor, _ rows: [CachedAttentionRun], _ angles: GemmaAngles) -> Tensor {
        let pass = prepared.pass { trunk.blocks.map(\.decoderLayer) }
        let (residual, delta) = pass(embedded, runs: rows, angles: [angles.global, angles.local], updates: [])
        return trunk.norm(residual, adding: delta).normalized
    }
}

extension GemmaBlock {
    /// The block's weights as they are now.
    fileprivate var decoderLayer: DecoderLayer {
        let (projections, gated) = (attention.projections.members, feedForward.gated.members)
        var layer = DecoderLayer(
            inputNorm: inputNorm.gain, feedForwardNorm: preFeedForwardNorm.gain, queryNorm: attention.queryNorm?.gain,
            keyNorm: attention.keyNorm?.gain, epsilon: inputNorm.epsilon,
            attention: (
                projections[0].projection(), projections[1].projection(), projections[2].projection(),
                attention.output.projection()
            ),
            feedForward: .dense(
                gate: gated[0].projection(), up: gated[1].projection(), down: feedForward.down.projection()),
            heads: attention.heads, options: attention.options, angles: attention.options.window == nil ? 0 : 1,
            number: attention.layer)
        (layer.postAttentionNorm, layer.postFeedForwardNorm) = (postAttentionNorm.gain, postFeedForwardNorm.gain)
        layer.activation = feedForward.activation
        return layer
    }
}
