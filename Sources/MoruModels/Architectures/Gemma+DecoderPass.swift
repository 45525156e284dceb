import MoruNN
import MoruTensor

extension Gemma {
    /// The last hidden states of a few rows that nothing but the model acts on: what the blocks would compute, without
    /// making a tensor of every step.
    func hiddenStates(_ embedded: Tensor, _ rows: [CachedAttentionRun], _ angles: GemmaAngles) -> Tensor {
        var pass = decoderPass(embedded, runs: rows, angles: angles.global)
        for block in trunk.blocks { pass.apply(block.decoderLayer(angles)) }
        let (residual, delta) = pass.result()
        return trunk.norm(residual, adding: delta).normalized
    }
}

extension GemmaBlock {
    /// The block's weights as they are now.
    fileprivate func decoderLayer(_ angles: GemmaAngles) -> DecoderLayer {
        let (projections, gated) = (attention.projections.members, feedForward.gated.members)
        var layer = DecoderLayer(
            inputNorm: inputNorm.gain, feedForwardNorm: preFeedForwardNorm.gain, queryNorm: attention.queryNorm?.gain,
            keyNorm: attention.keyNorm?.gain, epsilon: inputNorm.epsilon,
            attention: (
                projections[0].projection, projections[1].projection, projections[2].projection,
                attention.output.projection
            ),
            feedForward: .dense(
                gate: gated[0].projection, up: gated[1].projection, down: feedForward.down.projection),
            heads: attention.heads, options: attention.options, number: attention.layer)
        (layer.postAttentionNorm, layer.postFeedForwardNorm) = (postAttentionNorm.gain, postFeedForwardNorm.gain)
        layer.activation = feedForward.activation
        if attention.options.window != nil { layer.angles = angles.local }
        return layer
    }
}
