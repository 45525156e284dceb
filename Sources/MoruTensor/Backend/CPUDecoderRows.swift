import CMoruKernels

/// A few rows on their way through a decoder's layers, on the CPU.
///
/// A layer is some steps (``DecoderStep``) that the threads do together. Intermediate values lie in one piece of memory
/// that the layers use again and again, so that it stays in the cache.
final class CPUDecoderRows {
    let backend: CPUBackend
    let kernels: moru_kernels
    let productKernels: FewRowsKernels
    private let threadCount: Int
    let layers: UnsafeBufferPointer<CPUDecoderLayer>
    let rowCount, dim: Int
    let runs: [CachedAttentionRun]
    let angles: [RotaryAngles]
    let updates: [RowUpdates]
    /// Whether queries are rounded as the keys are that they meet.
    let roundsQueries: Bool

    let residual: Tensor
    /// What the last half of a layer adds to the residual stream.
    let delta: Tensor
    private let work: Tensor
    /// The input of attention, or of the feed-forward.
    let normalized: UnsafeMutablePointer<Float>
    let q, k, v, mixed, gates, gated: UnsafeMutablePointer<Float>
    /// The input of products with packed weights.
    let rounded: UnsafeMutableRawPointer
    /// The products that come next. Changed by the first part of a step that computes none.
    var products: FewRowsProducts
    /// The same of attention.
    var attention: AttentionRows

    /// Rows before the first layer, and memory that fits the largest.
    init(
        _ backend: CPUBackend, _ embedded: Tensor, _ layers: UnsafeBufferPointer<CPUDecoderLayer>,
        _ sizes: CPUDecoderLayer.Sizes, runs: [CachedAttentionRun], angles: [RotaryAngles], updates: [RowUpdates]
    ) {
        self.backend = backend
        (kernels, productKernels) = (backend.kernels, FewRowsKernels(backend.kernels))
        threadCount = backend.threads.threadCount
        (self.layers, rowCount, dim) = (layers, embedded.shape[0], embedded.shape[1])
        (self.runs, self.angles, self.updates) = (runs, angles, updates)
        roundsQueries = backend.runtime.precision == .automatic
        (residual, delta) = (embedded.copied(), Tensor(uninitialized: embedded.shape))
        let roundedBytes = rowCount * FewRowsInput.roundedRowBytes(max(dim, sizes.queries, sizes.inner))
        let roundedCount = roundedBytes / MemoryLayout<Float>.size
        let count = dim + 2 * sizes.queries + 2 * sizes.keys + 2 * sizes.inner
        work = Tensor(uninitialized: [roundedCount + rowCount * count])
        rounded = UnsafeMutableRawPointer(work.floats)
        normalized = work.floats + roundedCount
        q = normalized + rowCount * dim
        mixed = q + rowCount * sizes.queries
        k = mixed + rowCount * sizes.queries
        v = k + rowCount * sizes.keys
        gates = v + rowCount * sizes.keys
        gated = gates + rowCount * sizes.inner
        products = FewRowsProducts(productKernels)
        attention = AttentionRows(kernels.level, threadCount: threadCount)
    }

    deinit {
        products.deallocate()
        attention.deallocate()
    }

    /// Passes some layers, of which the last may have a mixture of experts: then up to its ``normalized`` input.
    func pass(_ numbers: Range<Int>) {
        guard !numbers.isEmpty else { return }
        let steps = DecoderStep.allCases.count
        let isMixture = layers[numbers.upperBound - 1].feedForward == nil
        let last = isMixture ? DecoderStep.feedForwardInput.rawValue + 1 : steps
        func place(_ index: Int) -> (step: DecoderStep, layer: Int) {
            let (layer, step) = index.quotientAndRemainder(dividingBy: steps)
            return (DecoderStep(rawValue: step)!, numbers.lowerBound + layer)
        }
        func parts(_ index: Int) -> Int {
            let (step, layer) = place(index)
            return self.parts(of: step, layers[layer])
        }
        backend.threads.runSteps((numbers.count - 1) * steps + last, parts: parts) { index, part, thread in
            let (step, layer) = place(index)
            perform(step, layer, part: part, of: parts(index), thread: thread)
        }
    }

    /// The residual stream after the last layer, and what that layer adds to it.
    func finish() -> (residual: Tensor, delta: Tensor) {
        finishFeedForward(layers[layers.count - 1], 0..<rowCount)
        return (residual, delta)
    }

    /// The updates of the layer at a place, and the rows that they act on.
    func updates(at place: Int?) -> some Sequence<(rows: Range<Int>, factors: moru_low_rank)> {
        updates.lazy.compactMap { run in
            place.flatMap { run.updates.arguments[$0] }.map { (run.rows, $0) }
        }
    }

    /// Into how many parts a step of a layer is split, when all before it is done.
    private func parts(of step: DecoderStep, _ layer: borrowing CPUDecoderLayer) -> Int {
        switch step {
        case .attentionInput, .positions, .joining, .feedForwardInput: rowParts(dim)
        case .gating: rowParts(4 * layer.sizes.inner)
        case .attention: attention.parts
        case .queryKeyValueUpdates, .outputUpdates, .gateUpUpdates, .downUpdates:
            products.innerParts(atMost: threadCount)
        case .queryKeyValue, .output, .gateUp, .down: products.parts(atMost: threadCount)
        }
    }

    /// Parts of the rows for work on so many elements each.
    private func rowParts(_ elements: Int) -> Int { max(1, min(threadCount, rowCount, rowCount * elements >> 12)) }

    private func perform(_ step: DecoderStep, _ number: Int, part: Int, of parts: Int, thread: Int) {
        let rows = rowCount * part / parts..<rowCount * (part + 1) / parts
        switch step {
        case .attentionInput:
            if part == 0 { beginQueryKeyValue(layers[number]) }
            makeAttentionInput(number, rows)
        case .positions:
            if part == 0 { beginAttention(layers[number]) }
            position(layers[number], rows)
        case .attention: attention.compute(part, of: parts, thread: thread)
        case .joining:
            if part == 0 { beginOutput(layers[number]) }
            joinAttention(layers[number], rows)
        case .feedForwardInput:
            if part == 0 { beginGateUp(number) }
            makeFeedForwardInput(layers[number], rows)
        case .gating:
            if part == 0 { beginDown(layers[number]) }
            gate(layers[number], rows)
        case .queryKeyValueUpdates, .outputUpdates, .gateUpUpdates, .downUpdates:
            products.computeInner(part, of: parts)
        case .queryKeyValue, .output, .gateUp, .down: products.compute(part, of: parts)
        }
    }
}
