import MoruNN
import MoruTensor

extension Llama {
    /// The last hidden states of a few rows that nothing but the model and low-rank updates act on: what the blocks would
    /// compute, without making a tensor of every step.
    func hiddenStates(
        _ embedded: Tensor, _ rows: [CachedAttentionRun], _ angles: RotaryAngles, _ context: LayerContext
    ) -> Tensor {
        var pass = decoderPass(embedded, runs: rows, angles: angles)
        let runs = context.adapters.isEmpty ? [] : context.updates(of: linears)
        var updates = PassUpdates(plan: UpdatePlan(runs, layerCount: linears.count))
        for block in trunk.blocks { pass.apply(block.decoderLayer(&updates)) }
        withExtendedLifetime(runs) {}
        let (residual, delta) = pass.result()
        return trunk.norm(residual, adding: delta).normalized
    }
}

/// The low-rank updates of a pass, for layers that ask in the order of the model's list.
private struct PassUpdates {
    let plan: UpdatePlan
    private(set) var place = 0

    init(plan: UpdatePlan) { self.plan = plan }

    /// Those of the next layer.
    mutating func next() -> ArraySlice<DecoderLayer.Update> {
        place += 1
        return plan[place - 1..<place]
    }
}

extension LlamaBlock {
    /// The block's weights as they are now.
    fileprivate func decoderLayer(_ updates: inout PassUpdates) -> DecoderLayer {
        let projections = attention.projections.members
        var layer = DecoderLayer(
            inputNorm: inputNorm.weight.tensor, feedForwardNorm: postAttentionNorm.weight.tensor,
            queryNorm: attention.queryNorm?.weight.tensor, keyNorm: attention.keyNorm?.weight.tensor,
            epsilon: inputNorm.epsilon,
            attention: (
                projections[0].projection(&updates), projections[1].projection(&updates),
                projections[2].projection(&updates), attention.output.projection(&updates)
            ),
            feedForward: feedForward.decoderPart(&updates), heads: attention.heads, options: attention.options,
            isRotated: attention.isRotated, residualScale: residualScale, number: attention.layer)
        // Queries, keys and values
        layer.nextUpdates = updates.plan[updates.place..<updates.place + projections.count]
        return layer
    }
}

extension LlamaBlockFeedForward {
    fileprivate func decoderPart(_ updates: inout PassUpdates) -> DecoderLayer.FeedForward {
        switch self {
        case .dense(let layer):
            return .dense(
                gate: layer.gated.members[0].projection(&updates), up: layer.gated.members[1].projection(&updates),
                down: layer.down.projection(&updates))
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

    /// The same, with the next of a pass's updates.
    fileprivate func projection(_ updates: inout PassUpdates) -> DecoderLayer.Projection {
        .init(weight: weight.tensor, bias: bias?.tensor, updates: updates.next())
    }
}
