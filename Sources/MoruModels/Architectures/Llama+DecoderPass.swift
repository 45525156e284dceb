import MoruNN
import MoruTensor

extension Llama {
    /// The last hidden states of a few rows that nothing but the model acts on: what the blocks would compute, without
    /// making a tensor of every step.
    func hiddenStates(_ embedded: Tensor, _ rows: [CachedAttentionRun], _ angles: RotaryAngles) -> Tensor {
        var pass = decoderPass(embedded, runs: rows, angles: angles)
        for block in blocks { pass.apply(block.decoderLayer) }
        let (residual, delta) = pass.result()
        return norm(residual, adding: delta).normalized
    }
}

extension LlamaBlock {
    /// The block's weights as they are now.
    fileprivate var decoderLayer: DecoderLayer {
        let (projections, gated) = (attention.projections.members, feedForward.gated.members)
        return DecoderLayer(
            inputNorm: inputNorm.weight.tensor, feedForwardNorm: postAttentionNorm.weight.tensor,
            queryNorm: attention.queryNorm?.weight.tensor, keyNorm: attention.keyNorm?.weight.tensor,
            epsilon: inputNorm.epsilon,
            attention: (
                projections[0].projection, projections[1].projection, projections[2].projection,
                attention.output.projection
            ),
            feedForward: (gated[0].projection, gated[1].projection, feedForward.down.projection),
            heads: attention.heads, options: attention.options, isRotated: attention.isRotated,
            residualScale: residualScale, number: attention.layer)
    }
}

extension Linear {
    fileprivate var projection: DecoderLayer.Projection { .init(weight: weight.tensor, bias: bias?.tensor) }
}
