import CMoruKernels

extension CPUDecoderPass {
    /// A mixture of experts, from normalised rows to what is added to the residual stream: the operations of
    /// `MixtureOfExperts`, bit for bit, with one loop of the threads over all experts' projections.
    mutating func apply(
        _ router: Tensor, _ options: RoutingOptions,
        _ weights: (_ expert: Int) -> (gate: Tensor, up: Tensor, down: Tensor), to x: UnsafeMutablePointer<Float>
    ) {
        let logits = Tensor(uninitialized: [rows, router.shape[0]])
        backend.multiplyFewRows(x, rows: rows, [(router, logits.floats)])
        let routed = backend.route(logits, options)
        let grouping = ExpertRows(
            routed.choices, expertsPerRow: options.expertsPerToken, expertCount: router.shape[0])
        let experts = grouping.experts.map(weights)
        let (count, inner) = (grouping.count, experts[0].gate.shape[0])
        let needed = count * (2 * dim + 2 * inner)
        if expertWork.count < needed { expertWork = Tensor(uninitialized: [needed]) }
        let grouped = expertWork.floats
        let results = grouped + count * dim
        let gates = results + count * dim
        let gated = gates + count * inner
        backend.groupRows(x, rowBytes: dim * MemoryLayout<Float>.size, grouping, to: grouped)
        let parts = Array(zip(grouping.groups, experts))
        backend.multiplyFewRows(
            grouped, rows: count,
            parts.map { ($0, $1.gate, gates + $0.lowerBound * inner) }
                + parts.map { ($0, $1.up, gated + $0.lowerBound * inner) })
        backend.forElements(count * inner) { activate(gates, gated, .silu, $0..<$1) }
        backend.multiplyFewRows(gates, rows: count, parts.map { ($0, $1.down, results + $0.lowerBound * dim) })
        backend.ungroupRows(results, dim: dim, grouping, weights: routed.weights.floats, to: delta.floats)
        withExtendedLifetime(routed.weights) {}
    }
}
