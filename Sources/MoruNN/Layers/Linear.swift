import MoruTensor

/// A fully connected layer, `x W^T + b`: the one place where dense, quantised and adapted weights meet.
public final class Linear: Sendable {
    /// The layer's place in the model, such as `model.layers.0.self_attn.q_proj`; adapters find it by this.
    public let path: String
    /// [outputs, inputs], in any dtype.
    public let weight: Parameter
    /// [outputs], or nil.
    public let bias: Parameter?
    /// The number of input features.
    public let inputs: Int
    /// The number of output features.
    public let outputs: Int

    /// Makes a layer of its parameters.
    public init(path: String, weight: Parameter, bias: Parameter? = nil) {
        self.path = path
        self.weight = weight
        self.bias = bias
        (outputs, inputs) = (weight.value.shape[0], weight.value.shape[1])
    }

    /// The layer's parameters.
    public var parameters: [Parameter] { [weight] + (bias.map { [$0] } ?? []) }

    /// Applies the layer to `x` [N, inputs], with the adapters of the context on their rows.
    public func callAsFunction(_ x: Tensor, _ context: LayerContext = LayerContext()) -> Tensor {
        completing(x.linear(weight.tensor), of: x, context)
    }

    /// What the layer makes of the product of `x` and its weight: the bias and the adapters added.
    func completing(_ product: Tensor, of x: Tensor, _ context: LayerContext) -> Tensor {
        var y = product
        if let bias { y = y.addingRow(bias.tensor) }
        guard !context.adapters.isEmpty else { return y }
        let runs = context.adapters.compactMap { run in
            run.rows.isEmpty ? nil : run.adapter.pairs[path].map { AdaptedRows(rows: run.rows, pair: $0) }
        }
        guard let first = runs.first else { return y }
        if runs.count == 1, first.rows == 0..<x.shape[0] { return first.pair.apply(to: x, adding: y, context) }
        return Tensor.concatenated(adaptedParts(x, y, runs, context))
    }

    private struct AdaptedRows {
        var rows: Range<Int>
        var pair: LoRAPair
    }

    /// The output in pieces: rows with an adapter, and the rows between them.
    private func adaptedParts(
        _ x: Tensor, _ y: Tensor, _ runs: [AdaptedRows], _ context: LayerContext
    ) -> [Tensor] {
        var parts: [Tensor] = []
        var next = 0
        for run in runs {
            precondition(
                next <= run.rows.lowerBound && run.rows.upperBound <= x.shape[0],
                "\(path): the adapters' rows \(run.rows) overlap, are out of order or outside \(x.shape)")
            if run.rows.lowerBound > next { parts.append(y.rows(next..<run.rows.lowerBound)) }
            let (input, output) = (x.rows(run.rows), y.rows(run.rows))
            parts.append(run.pair.apply(to: input, adding: output, context))
            next = run.rows.upperBound
        }
        if next < x.shape[0] { parts.append(y.rows(next..<x.shape[0])) }
        return parts
    }
}
