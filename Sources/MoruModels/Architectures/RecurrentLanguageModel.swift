// Recurrent language models (Mikolov et al., 2010) with LSTM or GRU layers, in PyTorch's equations. The weights are
// named as in a torch module with `embedding = nn.Embedding(...)`, `recurrent = nn.LSTM(...)` and `output`.

import MoruBase
import MoruNN
import MoruTensor

/// One recurrent layer.
struct RecurrentLayer: Sendable {
    let input: Linear
    let weight, bias: Parameter
    let cell: RecurrentCell
    let layer, hidden: Int

    init(_ weights: Weights, _ configuration: RecurrentConfiguration, layer: Int) throws(MoruError) {
        (cell, hidden, self.layer) = (configuration.cell, configuration.hiddenSize, layer)
        // The variance of PyTorch's start, which is even within one over the root of the size
        let start = Initialization.normal(standardDeviation: 1 / (3 * Float(hidden)).squareRoot())
        let rows = cell.gateCount * hidden
        let inputWeight = try weights.parameter("weight_ih_l\(layer)", [rows, hidden], start)
        input = Linear(
            path: inputWeight.path, weight: inputWeight,
            bias: try weights.parameter("bias_ih_l\(layer)", [rows], .zeros))
        weight = try weights.parameter("weight_hh_l\(layer)", [rows, hidden], start)
        bias = try weights.parameter("bias_hh_l\(layer)", [rows], .zeros)
    }

    /// - Parameter x: [N, H], in the order of time, as is the result.
    func callAsFunction(_ x: Tensor, _ batch: TokenBatch, _ order: TimeOrder, _ context: LayerContext) -> Tensor {
        let projected: Tensor
        if context.adapters.contains(where: { $0.rows.count < x.shape[0] }) {
            // Adapters know rows by their place in the batch
            projected = input(x.gatheringRows(order.places), context).gatheringRows(order.rows)
        } else {
            projected = input(x, context)
        }
        let (outputs, cells) = recurrent(
            projected, weight: weight.tensor, bias: bias.tensor, cell: cell, active: order.active,
            initial: state(batch, order))
        store(outputs, cells, batch, order)
        return outputs
    }

    /// The states that the sequences' caches hold for their last position, zeros for a sequence that begins.
    private func state(_ batch: TokenBatch, _ order: TimeOrder) -> RecurrentState? {
        guard batch.segments.contains(where: { $0.cache != nil && $0.firstPosition > 0 }) else { return nil }
        let rows = order.sequences.map { index -> (keys: Tensor, values: Tensor) in
            let segment = batch.segments[index]
            guard let cache = segment.cache, segment.firstPosition > 0 else {
                return (Tensor.zeros([hidden]), Tensor.zeros([hidden]))
            }
            return cache.row(segment.firstPosition - 1, layer: layer)
        }
        return RecurrentState(
            output: Tensor.concatenated(rows.map { $0.keys.reshaped(1, hidden) }),
            cell: Tensor.concatenated(rows.map { $0.values.reshaped(1, hidden) }))
    }

    /// Stores every position's state, so that a sequence can be shortened, shared and continued like any other.
    private func store(_ outputs: Tensor, _ cells: Tensor, _ batch: TokenBatch, _ order: TimeOrder) {
        guard batch.segments.contains(where: { $0.cache != nil }) else { return }
        let (outputs, cells) = (outputs.gatheringRows(order.places), cells.gatheringRows(order.places))
        for segment in batch.segments {
            segment.cache?.store(
                outputs, cells, rows: segment.rows, layer: layer, position: segment.firstPosition)
        }
    }

    var parameters: [Parameter] { [input.weight, weight] + (input.bias.map { [$0] } ?? []) + [bias] }
}

/// A language model whose layers are recurrent.
///
/// Its state takes the place of keys and values: the sequence cache holds the outputs and cells of every position.
public final class RecurrentLanguageModel: LanguageModel {
    /// The configuration.
    public let configuration: RecurrentConfiguration
    /// The output projection; the embedding table where they are tied.
    public let outputProjection: Parameter
    private let tokenEmbedding: Embedding
    private let layers: [RecurrentLayer]

    /// Builds the model from its parameters.
    ///
    /// - Throws: What the source of the weights throws.
    public init(_ configuration: RecurrentConfiguration, _ weights: Weights) throws(MoruError) {
        self.configuration = configuration
        let shape = [configuration.vocabularySize, configuration.hiddenSize]
        let start = Initialization.normal(standardDeviation: 0.1)
        tokenEmbedding = Embedding(weight: try weights["embedding"].parameter("weight", shape, start))
        var layers: [RecurrentLayer] = []
        for layer in 0..<configuration.layerCount {
            layers.append(try RecurrentLayer(weights["recurrent"], configuration, layer: layer))
        }
        self.layers = layers
        outputProjection =
            configuration.tiesEmbeddings
            ? tokenEmbedding.weight : try weights["output"].parameter("weight", shape, start)
    }

    /// Lets an LSTM's cells keep what they hold at first, by biases of 1 of its forget gates (Jozefowicz et al., 2015);
    /// for a model that begins to learn.
    public func openForgetGates() {
        guard configuration.cell == .lstm else { return }
        let hidden = configuration.hiddenSize
        for case let bias? in layers.map(\.input.bias) {
            var values = bias.value.values()
            for index in hidden..<2 * hidden { values[index] = 1 }
            bias.value = Tensor(values, shape: [4 * hidden])
        }
    }

    /// The outputs of the last layer [N, H].
    public func hiddenStates(_ batch: TokenBatch) -> Tensor {
        let order = TimeOrder(batch.segments.map(\.rows))
        let context = batch.layerContext
        var x = tokenEmbedding(order.rows.map { batch.tokens[$0] })
        for layer in layers { x = layer(x, batch, order, context) }
        batch.advanceCaches()
        return x.gatheringRows(order.places)
    }

    /// States stay in f32, since each is computed from the one before.
    public func cacheLayout(_ dtype: DType) -> CacheLayout {
        CacheLayout(layerCount: facts.layerCount, kvHeads: facts.kvHeads, headDim: facts.headDim, dtype: .f32)
    }

    /// The projections of the layers' inputs.
    public var linears: [Linear] { layers.map(\.input) }

    /// Every parameter.
    public var parameters: [Parameter] {
        let head = configuration.tiesEmbeddings ? [] : [outputProjection]
        return [tokenEmbedding.weight] + layers.flatMap(\.parameters) + head
    }

    /// The facts that callers need.
    public var facts: TextModelFacts {
        TextModelFacts(
            architecture: RecurrentConfiguration.modelType, vocabularySize: configuration.vocabularySize,
            contextLength: configuration.contextLength, layerCount: configuration.layerCount,
            hiddenSize: configuration.hiddenSize, kvHeads: 1, headDim: configuration.hiddenSize)
    }

    /// The configuration as `config.json`.
    public var configurationJSON: JSON { configuration.json }
}
