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
        let projections = attention.projections.members
        return DecoderLayer(
            inputNorm: inputNorm.weight.tensor, feedForwardNorm: postAttentionNorm.weight.tensor,
            queryNorm: attention.queryNorm?.weight.tensor, keyNorm: attention.keyNorm?.weight.tensor,
            epsilon: inputNorm.epsilon,
            attention: (
                projections[0].projection, projections[1].projection, projections[2].projection,
                attention.output.projection
            ),
            feedForward: feedForward.decoderPart, heads: attention.heads, options: attention.options,
            isRotated: attention.isRotated, residualScale: residualScale, number: attention.layer)
    }
}

extension LlamaBlockFeedForward {
    fileprivate var decoderPart: DecoderLayer.FeedForward {
        switch self {
        case .dense(let layer):
            return .dense(
                gate: layer.gated.members[0].projection, up: layer.gated.members[1].projection,
                down: layer.down.projection)
        case .experts(let layer):
            return .experts(router: layer.router.tensor, layer.options) { expert in
                (layer.gate[expert].weight.tensor, layer.up[expert].weight.tensor, layer.down[expert].weight.tensor)
            }
        }
    }
}

extension Linear {
    /// The layer's weights as they are now.
    var projection: DecoderLayer.Projection { .init(weight: weight.tensor, bias: bias?.tensor) }
}
