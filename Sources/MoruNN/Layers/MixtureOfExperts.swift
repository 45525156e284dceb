import MoruTensor

/// A gated feed-forward of which each token uses a few experts only: a sparse mixture of experts (Shazeer et al., 2017;
/// Jiang et al., 2024).
///
/// Rows are grouped by expert, without padding: the weights of an expert that no row goes to are neither read nor
/// packed, those of the others are read once.
public struct MixtureOfExperts: Sendable {
    /// The router's weight, [experts, inputs].
    public let router: Parameter
    /// Of each expert, the gate, what it gates, and the projection back.
    public let gate, up, down: [Linear]
    /// How the router chooses.
    public let options: RoutingOptions

    /// Makes a layer of its experts.
    public init(router: Parameter, gate: [Linear], up: [Linear], down: [Linear], options: RoutingOptions) {
        precondition(
            gate.count == router.value.shape[0] && up.count == gate.count && down.count == gate.count
                && 1...gate.count ~= options.expertsPerToken,
            "\(router.path): a router \(router.value.shape) does not choose \(options.expertsPerToken) of "
                + "\(gate.count) experts")
        (self.router, self.gate, self.up, self.down, self.options) = (router, gate, up, down, options)
    }

    /// The experts' layers, expert by expert.
    public var linears: [Linear] { gate.indices.flatMap { [gate[$0], up[$0], down[$0]] } }

    /// Applies the layer to `x` [N, inputs].
    ///
    /// - Returns: The sum of the experts' results [N, inputs], and what the router said, [N, experts].
    public func callAsFunction(
        _ x: Tensor, _ context: LayerContext = LayerContext()
    ) -> (output: Tensor, routerLogits: Tensor) {
        // Rounded to bf16, close decisions would fall another way
        let logits = Runtime.withPrecision(.f32) { x.linear(router.tensor, as: .f32) }
        guard x.shape[0] > 0 else { return (x.cast(to: .f32), logits) }
        let (rows, weights) = logits.routed(options)
        // How many rows an expert gets depends on what else is in the batch: all go the way of the batch
        let output = Runtime.withProducts(asFewRows: x.shape[0] <= Runtime.fewRows) {
            let contexts = context.adapters.isEmpty ? nil : rows.groups.map { context.rows(rows.sources[$0]) }
            func apply(_ layers: [[Linear]], _ x: Tensor) -> [Tensor] {
                if let observer = context.observer { for layer in layers { observer.observe(layer, x, rows) } }
                return expertLayers(layers, x, rows, contexts, dropout: context.dropout)
            }
            let parts = apply([gate, up], x.grouped(rows))
            return apply([down], swiglu(gate: parts[0], up: parts[1]))[0]
        }
        return (output.ungrouped(rows, weights: weights), logits)
    }

    /// Layers that each expert has one of, over grouped rows, with what biases and adapters add to them.
    ///
    /// - Parameter contexts: Of the experts that have rows, those of their rows; nil where nothing is adapted.
    private func expertLayers(
        _ layers: [[Linear]], _ x: Tensor, _ rows: ExpertRows, _ contexts: [LayerContext]?, dropout: DropoutSource?
    ) -> [Tensor] {
        let active = layers.map { layer in rows.experts.map { layer[$0] } }
        let isAdapted = contexts.map { contexts in
            active.contains { zip($0, contexts).contains { !$1.adaptations(of: $0.path).isEmpty } }
        }
        // What adapters add may be too little to survive in a product that is bf16 already
        let products = x.expertLinear(
            active.map { $0.map(\.weight.tensor) }, rows, as: isAdapted == true ? .f32 : nil)
        guard isAdapted == true || active.joined().contains(where: { $0.bias != nil }) else { return products }
        return zip(active, products).map { layers, product in
            Tensor.concatenated(
                layers.indices.map { index in
                    let (group, context) = (rows.groups[index], contexts?[index] ?? LayerContext(dropout: dropout))
                    return layers[index].completing(product.rows(group), of: x.rows(group), context)
                        .cast(to: x.dtype)
                })
        }
    }
}

extension LinearObserver {
    /// Takes note of the grouped rows that each expert's layer reads.
    fileprivate func observe(_ layers: [Linear], _ x: Tensor, _ rows: ExpertRows) {
        for (expert, group) in zip(rows.experts, rows.groups) { observe(layers[expert].weight.path, x.rows(group)) }
    }
}

extension LayerContext {
    /// The context of some rows of the batch, in its order.
    fileprivate func rows(_ sources: ArraySlice<Int32>) -> LayerContext {
        let runs = adapters.compactMap { run -> AdapterRun? in
            let begin = sources.firstIndex { $0 >= run.rows.lowerBound } ?? sources.endIndex
            let end = sources.firstIndex { $0 >= run.rows.upperBound } ?? sources.endIndex
            guard begin < end else { return nil }
            return AdapterRun(rows: begin - sources.startIndex..<end - sources.startIndex, adapter: run.adapter)
        }
        return LayerContext(adapters: runs, dropout: dropout)
    }
}
