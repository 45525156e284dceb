// What BERT and its descendants have in common: blocks of bidirectional attention and a feed-forward, each added to its
// input and normalised after (Vaswani et al., 2017), over learned embeddings of tokens and positions.

import MoruNN
import MoruTensor

/// One layer of an encoder.
struct EncoderBlock: Sendable {
    /// Queries, keys and values.
    let projections: LinearGroup
    let output, up, down: Linear
    let attentionNorm, outputNorm: LayerNorm
    let layer, heads: Int
    let activation: Activation
    let options: AttentionOptions

    init(
        projections: LinearGroup, output: Linear, attentionNorm: LayerNorm, up: Linear, down: Linear,
        outputNorm: LayerNorm, layer: Int, heads: Int, activation: Activation
    ) {
        (self.projections, self.output, self.up, self.down) = (projections, output, up, down)
        (self.attentionNorm, self.outputNorm) = (attentionNorm, outputNorm)
        (self.layer, self.heads, self.activation) = (layer, heads, activation)
        let headDim = output.inputs / heads
        options = AttentionOptions(scale: 1 / Float(headDim).squareRoot(), causal: false)
    }

    func callAsFunction(_ x: Tensor, _ batch: TokenBatch, _ context: LayerContext) -> Tensor {
        let (n, dim) = (x.shape[0], x.shape[1])
        let parts = projections(x.cast(to: activationType), context).map { $0.reshaped(n, heads, dim / heads) }
        let mixed = batch.attend(q: parts[0], k: parts[1], v: parts[2], layer: layer, options)
        let h = attentionNorm(x + output(mixed.reshaped(n, dim), context))
        let inner = up(h.cast(to: activationType), context).activated(by: activation)
        return outputNorm(h + down(inner.cast(to: activationType), context))
    }

    var linears: [Linear] { projections.members + [output, up, down] }
    var parameters: [Parameter] {
        (projections.members + [output]).flatMap(\.parameters) + attentionNorm.parameters + up.parameters
            + down.parameters + outputNorm.parameters
    }
}

/// The embeddings and the blocks.
struct EncoderTrunk: Sendable {
    let tokens, positions: Embedding
    /// One vector for each kind of token, such as those of a first and a second sentence; nil without kinds.
    let tokenTypes: Embedding?
    let norm: LayerNorm
    let blocks: [EncoderBlock]
    /// The row of the position table that the first position has.
    let firstPosition: Int

    /// The weights as texts pass them fastest.
    let prepared = PreparedEncoder()

    /// The last hidden states [N, D]. Positions must lie below the context length.
    func hiddenStates(_ whole: TokenBatch) -> Tensor {
        precondition(
            whole.segments.allSatisfy { $0.cache == nil }, "an encoder reads whole sequences: it knows no caches")
        if followsParameters {
            // The weights are about to change: what was made of them is not kept beside the gradients
            prepared.forget()
        } else if whole.dropout == nil, whole.segments.allSatisfy({ $0.adapter == nil }), whole.count > 0 {
            let pass = prepared.pass(of: self)
            return pass.hiddenStates(embeddings(of: whole), segments: whole.segments.map(\.rows))
        }
        let (embedded, batch) = whole.embedded(by: tokens)
        var x = embedded + positions(batch.positions.map { Int32($0 + firstPosition) })
        if let tokenTypes { x = x + tokenTypes(batch.types) }
        x = norm(x)
        let context = batch.layerContext
        for block in blocks { x = context.recomputing(x) { block($0, batch, context) } }
        return batch.tokenRows(of: x)
    }

    private func embeddings(of batch: TokenBatch) -> [(table: Tensor, ids: [Int32])] {
        let ids = batch.positions.map { Int32($0 + firstPosition) }
        let types = tokenTypes.map { [($0, batch.types)] } ?? []
        let parts = [(tokens, batch.tokens), (positions, ids)] + types
        for (table, ids) in parts {
            let rows = table.weight.value.shape[0]
            precondition(ids.allSatisfy { 0..<Int32(rows) ~= $0 }, "an id lies outside the table of \(rows) rows")
        }
        return parts.map { ($0.weight.value, $1) }
    }

    var linears: [Linear] { blocks.flatMap(\.linears) }
    var parameters: [Parameter] {
        [tokens.weight, positions.weight] + (tokenTypes.map { [$0.weight] } ?? []) + norm.parameters
            + blocks.flatMap(\.parameters)
    }
}
