import MoruNN
import MoruTensor

extension Llama {
    /// The last hidden states of a few rows that nothing but the model and low-rank updates act on: what the blocks would
    /// compute, without making a tensor of every step.
    func hiddenStates(
        _ embedded: Tensor, _ rows: [CachedAttentionRun], _ angles: RotaryAngles, _ context: LayerContext
    ) -> Tensor {
        let pass = prepared.pass {
            var place = 0
            return trunk.blocks.map { $0.decoderLayer(firstPlace: &place) }
        }
        let updates = context.adapters.isEmpty ? [] : context.updates(of: linears)
        let (residual, delta) = pass(embedded, runs: rows, angles: [angles], updates: updates)
        return trunk.norm(residual, adding: delta).normalized
    }
}

extension LlamaBlock {
    /// The block's weights as they are now.
    ///
    /// - Parameter place: That of the block's first layer in the model's list, and then that of the next block's.
    fileprivate func decoderLayer(firstPlace place: inout Int) -> DecoderLayer {
        func projection(_ layer: Linear) -> DecoderLayer.Projection {
            defer { place += 1 }
            return layer.projection(at: place)
        }
        let members = attention.projections.members
        let attentionProjections = (
            projection(members[0]), projection(members[1]), projection(members[2]), projection(attention.output)
        )
        let part: DecoderLayer.FeedForward
        switch feedForward {
        case .dense(let layer):
            part = .dense(
                gate: projection(layer.gated.members[0]), up: projection(layer.gated.members[1]),
                down: projection(layer.down))
        case .experts(let layer):
            place += layer.linears.count
            part = .experts(router: layer.router.tensor, layer.options) { expert in
                (layer.gate[expert].weight.tensor, layer.up[expert].weight.tensor, layer.down[expert].weight.tensor)
            }
        }
        return DecoderLayer(
            inputNorm: inputNorm.weight.tensor, feedForwardNorm: postAttentionNorm.weight.tensor,
            queryNorm: attention.queryNorm?.weight.tensor, keyNorm: attention.keyNorm?.weight.tensor,
            epsilon: inputNorm.epsilon, attention: attentionProjections, feedForward: part, heads: attention.heads,
            options: attention.options, angles: attention.isRotated ? 0 : nil, residualScale: residualScale,
            number: attention.layer)
    }
}
