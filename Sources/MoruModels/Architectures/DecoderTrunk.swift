// What decoders have in common: a table of token vectors, blocks one after the other, a last normalisation, and a
// projection to logits.

import MoruBase
import MoruNN
import MoruTensor

/// One layer of a decoder.
protocol DecoderBlock: Sendable {
    /// The layers that adapters may adapt.
    var linears: [Linear] { get }
    /// Every parameter, in the order of the checkpoint.
    var parameters: [Parameter] { get }
}

/// A language model that is made of these parts: its file says what a block computes, and how a batch passes the blocks.
protocol Decoder: LanguageModel {
    associatedtype Block: DecoderBlock
    associatedtype Norm: Normalization
    var trunk: DecoderTrunk<Block, Norm> { get }
}

extension Decoder {
    /// The output projection; the embedding table where they are tied.
    public var outputProjection: Parameter { trunk.outputProjection }

    /// The table that turns tokens into vectors.
    public var inputEmbedding: Embedding? { trunk.tokens }

    /// The linear layers of the blocks.
    public var linears: [Linear] { trunk.blocks.flatMap(\.linears) }

    /// Every parameter.
    public var parameters: [Parameter] { trunk.parameters }
}

/// The parts of a decoder, in the order of the checkpoint.
struct DecoderTrunk<Block: DecoderBlock, Norm: Normalization>: Sendable {
    let tokens: Embedding
    /// One vector for each position, which is added to the token's; nil where positions turn queries and keys instead.
    var positions: Embedding? = nil
    let blocks: [Block]
    let norm: Norm
    /// [V, D]; the table of the tokens where they are tied.
    let outputProjection: Parameter

    /// The rows that the first block sees, and the batch that they are of; see ``TokenBatch/embedded(by:)``.
    func embedded(_ batch: TokenBatch) -> (x: Tensor, batch: TokenBatch) {
        let (x, batch) = batch.embedded(by: tokens)
        guard let positions else { return (x, batch) }
        return (x + positions(batch.positions.map(Int32.init)), batch)
    }

    /// The last hidden states [N, D] of a batch's tokens, normalised, where blocks pass on the residual stream.
    ///
    /// - Parameters:
    ///   - x: The embedded rows.
    ///   - apply: A block's pass.
    func hiddenStates(
        _ x: Tensor, _ batch: TokenBatch, _ apply: @escaping (Block, Tensor, LayerContext) -> Tensor
    ) -> Tensor {
        let context = batch.layerContext
        var x = x
        for block in blocks { x = context.recomputing(x) { apply(block, $0, context) } }
        batch.advanceCaches()
        return norm(batch.tokenRows(of: x))
    }

    var parameters: [Parameter] {
        let embeddings = [tokens.weight] + (positions.map { [$0.weight] } ?? [])
        let head = outputProjection === tokens.weight ? [] : [outputProjection]
        return embeddings + blocks.flatMap(\.parameters) + norm.parameters + head
    }
}

/// The residual stream between blocks that leave the last sum to the normalisation after it, since one kernel does both.
struct ResidualStream {
    var sum: Tensor
    /// What is still to be added; nil before the first block.
    var delta: Tensor?
    /// What the router of the last block said; nil where it has none.
    var routerLogits: Tensor?
}

extension DecoderTrunk where Norm == RMSNorm {
    /// The last hidden states [N, D] of a batch's tokens, normalised, where blocks pass on the residual stream as a sum
    /// and what is still to be added. What routers say is put down in the batch's record.
    func hiddenStates(
        _ x: Tensor, _ batch: TokenBatch, _ apply: @escaping (Block, ResidualStream, LayerContext) -> ResidualStream
    ) -> Tensor {
        let context = batch.layerContext
        var stream = ResidualStream(sum: x)
        for block in blocks {
            stream = context.recomputing(stream) { apply(block, $0, context) }
            if let record = batch.routing, let logits = stream.routerLogits { record.append(logits) }
        }
        batch.advanceCaches()
        return norm(batch.tokenRows(of: stream.sum), adding: stream.delta.map(batch.tokenRows)).normalized
    }
}

extension LayerContext {
    /// A block's pass, whose activations are computed again for the backward pass where training asks for that.
    func recomputing(_ x: Tensor, _ block: @escaping (Tensor) -> Tensor) -> Tensor {
        guard Runtime.shared.recomputesActivations else { return block(x) }
        return recomputed([x], dropout: dropout) { [block($0[0])] }[0]
    }

    /// The same for a stream of two parts.
    func recomputing(
        _ stream: ResidualStream, _ block: @escaping (ResidualStream) -> ResidualStream
    ) -> ResidualStream {
        guard Runtime.shared.recomputesActivations else { return block(stream) }
        let results = recomputed([stream.sum, stream.delta].compactMap { $0 }, dropout: dropout) { inputs in
            let result = block(ResidualStream(sum: inputs[0], delta: inputs.count > 1 ? inputs[1] : nil))
            return [result.sum, result.delta, result.routerLogits].compactMap { $0 }
        }
        return ResidualStream(
            sum: results[0], delta: results[1], routerLogits: results.count > 2 ? results[2] : nil)
    }
}

extension DecoderTrunk where Norm == RMSNorm {
    /// The parts of a model whose parameters have the names of the Llama family.
    init(
        _ c: LlamaConfiguration, _ weights: Weights,
        _ makeBlock: (Weights, LlamaConfiguration, Int) throws(MoruError) -> Block
    ) throws(MoruError) {
        let place = weights["model"]
        let tokens = try place.embedding("embed_tokens", count: c.vocabularySize, dim: c.hiddenSize)
        self.init(
            tokens: tokens, blocks: try place["layers"].blocks(c.layerCount, c, makeBlock),
            norm: try place.rmsNorm("norm", dim: c.hiddenSize, epsilon: c.normEpsilon),
            outputProjection: try weights.outputProjection("lm_head", of: tokens, isTied: c.tiesEmbeddings))
    }
}

extension Weights {
    /// Blocks by their number.
    func blocks<Block, Configuration>(
        _ count: Int, _ configuration: Configuration,
        _ make: (Weights, Configuration, Int) throws(MoruError) -> Block
    ) throws(MoruError) -> [Block] {
        var blocks: [Block] = []
        for layer in 0..<count { blocks.append(try make(self[layer], configuration, layer)) }
        return blocks
    }

    /// Queries, keys and values by the names of the Llama family; keys and values have as many elements.
    func queryKeyValue(inputs: Int, queries: Int, keys: Int, bias: Bool) throws(MoruError) -> LinearGroup {
        LinearGroup(
            try linear("q_proj", inputs: inputs, outputs: queries, bias: bias),
            try linear("k_proj", inputs: inputs, outputs: keys, bias: bias),
            try linear("v_proj", inputs: inputs, outputs: keys, bias: bias))
    }

    /// A feed-forward's gate and what it gates, by the names of the Llama family.
    func gateUp(inputs: Int, outputs: Int, bias: Bool = false) throws(MoruError) -> LinearGroup {
        LinearGroup(
            try linear("gate_proj", inputs: inputs, outputs: outputs, bias: bias),
            try linear("up_proj", inputs: inputs, outputs: outputs, bias: bias))
    }

    /// The projection to logits `name.weight` [V, D], or the table of the tokens [V, D] where they are tied.
    func outputProjection(_ name: String, of tokens: Embedding, isTied: Bool) throws(MoruError) -> Parameter {
        isTied ? tokens.weight : try self[name].parameter("weight", tokens.weight.value.shape)
    }
}
