import CMoruKernels

extension CPUBackend {
    /// A mixture of experts, from normalised rows to what is added to the residual stream: the operations of
    /// `MixtureOfExperts`, bit for bit, with one loop of the threads over all experts' projections.
    func multiplyByExperts(
        _ x: UnsafeMutablePointer<Float>, rows: Int, _ router: Tensor, _ options: RoutingOptions,
        _ weights: (_ expert: Int) -> (gate: Tensor, up: Tensor, down: Tensor), to y: UnsafeMutablePointer<Float>
    ) {
        let logits = Tensor(uninitialized: [rows, router.shape[0]])
        multiplyFewRows(x, rows: rows, [(router, logits.floats)])
        let routed = route(logits, options)
        let grouping = ExpertRows(
            routed.choices, expertsPerRow: options.expertsPerToken, expertCount: router.shape[0])
        let experts = grouping.experts.map(weights)
        let (count, dim, inner) = (grouping.count, router.shape[1], experts[0].gate.shape[0])
        let parts = Array(zip(grouping.groups, experts))
        withScratch(count * (2 * dim + 2 * inner) * MemoryLayout<Float>.size) { scratch in
            let grouped = scratch.assumingMemoryBound(to: Float.self)
            let results = grouped + count * dim
            let gates = results + count * dim
            let gated = gates + count * inner
            groupRows(x, rowBytes: dim * MemoryLayout<Float>.size, grouping, to: grouped)
            multiplyFewRows(
                grouped, rows: count,
                parts.map { ($0, $1.gate, gates + $0.lowerBound * inner) }
                    + parts.map { ($0, $1.up, gated + $0.lowerBound * inner) })
            forElements(count * inner) { gate(gates, gated, by: .silu, $0..<$1) }
            multiplyFewRows(gates, rows: count, parts.map { ($0, $1.down, results + $0.lowerBound * dim) })
            ungroupRows(results, dim: dim, grouping, weights: routed.weights.floats, to: y)
        }
        withExtendedLifetime(routed.weights) {}
    }
}
