import MoruTensor

/// A fully connected layer, `x W^T + b`: the one place where dense, quantised and adapted weights meet.
public final class Linear: Sendable {
    /// The layer's path in the model, such as `model.layers.0.self_attn.q_proj`, by which adapters find it.
    public let path: String
    /// The path in a form that is fast to look up in every step.
    let key: LayerKey
    /// [outputs, inputs], in any dtype.
    public let weight: Parameter
    /// [outputs], or nil.
    public let bias: Parameter?
    /// The number of input features.
    public let inputs: Int
    /// The number of output features.
    public let outputs: Int

    /// Makes a layer from its parameters.
    public init(path: String, weight: Parameter, bias: Parameter? = nil) {
        self.path = path
        key = LayerKey(path)
        self.weight = weight
        self.bias = bias
        (outputs, inputs) = (weight.value.shape[0], weight.value.shape[1])
    }

    /// The layer's parameters.
    public var parameters: [Parameter] { [weight] + (bias.map { [$0] } ?? []) }

    /// Applies the layer to `x` [N, inputs], with the context's adapters acting on their rows.
    public func callAsFunction(_ x: Tensor, _ context: LayerContext = LayerContext()) -> Tensor {
        let runs = context.adaptations(of: path)
        if runs.count == 1, runs[0].rows == 0..<x.shape[0], case .inputScale(let scale) = runs[0].adaptation {
            return addingBias(x.multiplyingRow(scale.tensor.reshaped(inputs)).linear(weight.tensor))
        }
        if let update = context.wholeUpdate(runs, rows: x.shape[0]) {
            return addingBias(x.linear([weight.tensor], updates: [update])[0], seeing: x, context)
        }
        // An adapter's update may be too small to survive if it is added to a product already rounded to bf16
        return completing(x.linear(weight.tensor, as: runs.isEmpty ? nil : .f32), of: x, context, runs)
    }

    /// The layer's output, given the product of `x` and its weight: adds the bias and the adapters.
    func completing(_ product: Tensor, of x: Tensor, _ context: LayerContext) -> Tensor {
        completing(product, of: x, context, context.adaptations(of: path))
    }

    /// The same, if the adapters have been looked up already.
    func completing(
        _ product: Tensor, of x: Tensor, _ context: LayerContext, _ runs: [LayerContext.AdaptedRows]
    ) -> Tensor {
        context.observer?.observe(weight.path, x)
        guard let first = runs.first else { return addingBias(product) }
        if runs.count == 1, first.rows == 0..<x.shape[0] {
            return first.adaptation.complete(product, of: x, self, context)
        }
        // The output in pieces: rows with an adapter, and the rows between them
        var parts: [Tensor] = []
        var next = 0
        for run in runs {
            precondition(
                next <= run.rows.lowerBound && run.rows.upperBound <= x.shape[0],
                "\(path): the adapters' rows \(run.rows) overlap, are out of order or outside \(x.shape)")
            if run.rows.lowerBound > next { parts.append(addingBias(product.rows(next..<run.rows.lowerBound))) }
            parts.append(run.adaptation.complete(product.rows(run.rows), of: x.rows(run.rows), self, context))
            next = run.rows.upperBound
        }
        if next < x.shape[0] { parts.append(addingBias(product.rows(next..<x.shape[0]))) }
        return Tensor.concatenated(parts)
    }

    /// The layer applied to a gated activation; see ``MoruTensor/gatedLinear(gate:up:by:_:)``.
    package func callAsFunction(
        gate: Tensor, up: Tensor, by function: Activation, _ context: LayerContext
    ) -> Tensor {
        guard bias == nil, context.observer == nil, context.adaptations(of: path).isEmpty else {
            return self(gated(gate: gate, up: up, by: function), context)
        }
        return gatedLinear(gate: gate, up: up, by: function, weight.tensor)
    }

    /// Adds the bias to a product that includes the adapters' part, and shows the input to the observer.
    func addingBias(_ product: Tensor, seeing x: Tensor, _ context: LayerContext) -> Tensor {
        context.observer?.observe(weight.path, x)
        return addingBias(product)
    }

    func addingBias(_ product: Tensor) -> Tensor { bias.map { product.addingRow($0.tensor) } ?? product }
}
