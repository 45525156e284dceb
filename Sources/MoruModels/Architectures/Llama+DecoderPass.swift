import MoruNN
import MoruTensor

extension Llama {
    /// The last hidden states of a few rows that nothing but the model and low-rank updates act on: what the blocks would
    /// compute, without making a tensor of every step.
    func hiddenStates(
        _ embedded: Tensor, _ rows: [CachedAttentionRun], _ angles: RotaryAngles, _ context: LayerContext
    ) -> Tensor {
        var pass = decoderPass(embedded, runs: rows, angles: angles)
        for block in trunk.blocks { pass.apply(block.decoderLayer(context)) }
        let (residual, delta) = pass.result()
        return trunk.norm(residual, adding: delta).normalized
    }
}

extension LlamaBlock {
    /// The block's weights as they are now.
    fileprivate func decoderLayer(_ context: LayerContext) -> DecoderLayer {
        let projections = attention.projections.members
        return DecoderLayer(
            inputNorm: inputNorm.weight.tensor, feedForwardNorm: postAttentionNorm.weight.tensor,
            queryNorm: attention.queryNorm?.weight.tensor, keyNorm: attention.keyNorm?.weight.tensor,
            epsilon: inputNorm.epsilon,
            attention: (
                projections[0].projection(context), projections[1].projection(context),
                projections[2].projection(context), attention.output.projection(context)
            ),
            feedForward: feedForward.decoderPart(context), heads: attention.heads, options: attention.options,
            isRotated: attention.isRotated, residualScale: residualScale, number: attention.layer)
    }
}

extension LlamaBlockFeedForward {
    fileprivate func decoderPart(_ context: LayerContext) -> DecoderLayer.FeedForward {
        switch self {
        case .dense(let layer):
            return .dense(
                gate: layer.gated.members[0].projection(context), up: layer.gated.members[1].projection(context),
                down: layer.down.projection(context))
        case .experts(let layer):
            return .experts(router: layer.router.tensor, layer.options) { expert in
                (layer.gate[expert].weight.tensor, layer.up[expert].weight.tensor, layer.down[expert].weight.tensor)
            }
        }
    }
}

extension Linear {
    /// The layer's weights as they are now.
    var projection: DecoderLayer.Projection { projection(LayerContext()) }

    /// The same, with the updates of a context's adapters.
    fileprivate func projection(_ context: LayerContext) -> DecoderLayer.Projection {
        .init(
            weight: weight.tensor, bias: bias?.tensor,
            updates: context.adapters.isEmpty ? [] : context.updates(of: self))
    }
}
