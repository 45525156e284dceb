import CMoruKernels

/// A few rows on their way through a decoder's layers, on the CPU.
///
/// A layer is some steps (``DecoderStep``) that the threads do together. Intermediate values lie in one piece of memory
/// that the layers use again and again, so that it stays in the cache.
final class CPUDecoderRows {
    let backend: CPUBackend
    let kernels: moru_kernels
    let productKernels: FewRowsKernels
    /// How often a thread that waits asks for what it reads next, and for how many bytes.
    private static let turnsAhead = 64, turnBytes = 512

    private let threadCount: Int
    let layers: UnsafeBufferPointer<CPUDecoderLayer>
    private let reads: DecoderReads
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
        _ reads: DecoderReads, _ sizes: CPUDecoderLayer.Sizes, runs: [CachedAttentionRun], angles: [RotaryAngles],
        updates: [RowUpdates]
    ) {
        self.backend = backend
        (kernels, productKernels) = (backend.kernels, FewRowsKernels(backend.runtime))
        threadCount = backend.threads.threadCount
        (self.layers, self.reads) = (layers, reads)
        (rowCount, dim) = (embedded.shape[0], embedded.shape[1])
        (self.runs, self.angles, self.updates) = (runs, angles, updates)
        roundsQueries = backend.runtime.allowsBF16
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
        attention = AttentionRows(backend.runtime.rowAttention, threadCount: threadCount)
    }

    deinit {
        products.deallocate()
        attention.deallocate()
    }

    /// A layer where it lies: nobody copies it for each step.
    typealias Layer = UnsafePointer<CPUDecoderLayer>

    /// The layer of a number, if there is one.
    func layer(_ number: Int) -> Layer? { layers.indices.contains(number) ? layers.baseAddress! + number : nil }

    /// Passes some layers, of which the last may have a mixture of experts: then up to its ``normalized`` input.
    func pass(_ numbers: Range<Int>) {
        guard let last = numbers.last else { return }
        let steps = DecoderStep.allCases.count
        let lastSteps = layers[last].feedForward == nil ? DecoderStep.feedForwardInput.rawValue + 1 : steps
        func place(_ index: Int) -> (step: DecoderStep, number: Int) {
            let (layer, step) = index.quotientAndRemainder(dividingBy: steps)
            return (DecoderStep(rawValue: step)!, numbers.lowerBound + layer)
        }
        func parts(_ index: Int) -> Int {
            let (step, number) = place(index)
            return self.parts(of: step, layers.baseAddress! + number)
        }
        func wait(_ index: Int, _ thread: Int, _ turn: Int) {
            let (step, number) = place(index)
            prefetch(after: step, number, thread, turn: turn)
        }
        backend.threads.runSteps(
            (numbers.count - 1) * steps + lastSteps, parts: parts, whileWaiting: wait
        ) { index, part, thread in
            let (step, number) = place(index)
            perform(step, number, part: part, of: parts(index), thread: thread)
        }
    }

    /// Asks for a little more of what a thread reads after a step, whose first bytes the step itself has asked for.
    private func prefetch(after step: DecoderStep, _ number: Int, _ thread: Int, turn: Int) {
        guard turn < Self.turnsAhead else { return }
        let first = reads.after(step, ofLayer: number, thread: thread)
        if let end = first.baseAddress.map({ $0 + first.count }) {
            moru_prefetch(end + turn * Self.turnBytes, Self.turnBytes)
        }
    }

    /// The residual stream after the last layer, and what that layer adds to it.
    func finish() -> (residual: Tensor, delta: Tensor) {
        if let last = layer(layers.count - 1) { finishFeedForward(last, 0..<rowCount) }
        return (residual, delta)
    }

    /// The updates of the layer at a place, and the rows that they act on.
    func updates(at place: Int?) -> some Sequence<(rows: Range<Int>, factors: moru_low_rank)> {
        updates.lazy.compactMap { run in
            place.flatMap { run.updates.arguments[$0] }.map { (run.rows, $0) }
        }
    }

    /// Into how many parts a step of a layer is split, when all before it is done.
    private func parts(of step: DecoderStep, _ layer: Layer) -> Int {
        switch step {
        case .attentionInput, .positions, .joining, .feedForwardInput: rowParts(dim)
        case .gating: rowParts(4 * layer.pointee.sizes.inner)
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
        let layer = layers.baseAddress! + number
        switch step {
        case .attentionInput:
            if part == 0 {
                beginQueryKeyValue(layer)
                beginAttention(layer)
            }
            makeAttentionInput(layer, after: self.layer(number - 1), rows)
        case .positions: position(layer, rows)
        case .attention: attention.compute(part, of: parts, thread: thread)
        case .joining:
            if part == 0 { beginOutput(layer) }
            joinAttention(layer, rows)
        case .feedForwardInput:
            if part == 0 { beginGateUp(layer, before: self.layer(number + 1)) }
            makeFeedForwardInput(layer, rows)
        case .gating:
            if part == 0 { beginDown(layer) }
            gate(layer, rows)
        case .queryKeyValueUpdates, .outputUpdates, .gateUpUpdates, .downUpdates:
            products.computeInner(part, of: parts)
        case .queryKeyValue:
            products.compute(part, of: parts, next: reads.after(step, ofLayer: number, thread: part))
            // Keys lie apart from each other: what is asked for now comes while the threads meet
            if part < attention.parts { attention.prefetch(part, of: attention.parts) }
        case .output, .gateUp, .down:
            products.compute(part, of: parts, next: reads.after(step, ofLayer: number, thread: part))
        }
    }
}
