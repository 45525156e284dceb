import CMoruKernels

/// A few rows on their way through a decoder's layers, on the CPU.
///
/// A layer is some steps (``DecoderStep``) that the threads do together.
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
    let angles: [CPUDecoderAngles]
    let updates: [RowUpdates]
    /// Whether queries are rounded as the keys are that they meet.
    let roundsQueries: Bool
    /// Whether some rows are of one sequence.
    private let meetEachOther: Bool

    let residual: Tensor
    /// What half of a layer adds to the residual stream.
    let delta: Tensor
    let memory: CPUDecoderMemory
    // What follows changes only between two steps
    /// Attention of the layer.
    var attention: AttentionRows
    /// The number of the present products among all so far.
    private var productNumber = 0
    /// Whether the threads have made the input of the products together.
    private var sharesInput = false
    /// Into how many parts the present step is split.
    private var parts = 0

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
        (self.runs, self.angles, self.updates) = (runs, angles.map { CPUDecoderAngles($0) }, updates)
        roundsQueries = backend.runtime.allowsBF16
        meetEachOther = runs.count > 1 && Set(runs.map { ObjectIdentifier($0.cache) }).count < runs.count
        (residual, delta) = (embedded.copied(), Tensor(uninitialized: embedded.shape))
        memory = CPUDecoderMemory(rows: rowCount, dim: dim, sizes, threadCount: threadCount, productKernels)
        attention = AttentionRows(backend)
    }

    deinit {
        memory.deallocate()
        attention.deallocate()
    }

    /// A layer where it lies: nobody copies it for each step.
    typealias Layer = UnsafePointer<CPUDecoderLayer>

    /// The layer of a number, if there is one.
    func layer(_ number: Int) -> Layer? { layers.indices.contains(number) ? layers.baseAddress! + number : nil }

    /// Passes some layers, of which the last may have a mixture of experts: then up to its shared input.
    func pass(_ numbers: Range<Int>) {
        guard let last = numbers.last else { return }
        let steps = DecoderStep.allCases.count
        let lastSteps = layers[last].feedForward == nil ? DecoderStep.feedForwardInput.rawValue + 1 : steps
        func place(_ index: Int) -> (step: DecoderStep, number: Int) {
            let (layer, step) = index.quotientAndRemainder(dividingBy: steps)
            return (DecoderStep(rawValue: step)!, numbers.lowerBound + layer)
        }
        func begin(_ index: Int) -> Int {
            let (step, number) = place(index)
            parts = self.begin(step, number)
            return parts
        }
        func wait(_ index: Int, _ thread: Int, _ turn: Int) {
            let (step, number) = place(index)
            prefetch(after: step, number, thread, turn: turn)
        }
        backend.threads.runSteps(
            (numbers.count - 1) * steps + lastSteps, begin: begin, whileWaiting: wait
        ) { index, part, thread in
            let (step, number) = place(index)
            perform(step, number, part: part, thread: thread)
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

    /// Whether a layer's outputs of `down` are added to the residual stream by whoever computes them: not the last one's,
    /// which ``finish()`` returns.
    func addsFeedForward(_ number: Int) -> Bool { number < layers.count - 1 && layers[number].addsFeedForward }

    /// Prepares a step when all before it are done, and says into how many parts it is split.
    private func begin(_ step: DecoderStep, _ number: Int) -> Int {
        let layer = layers.baseAddress! + number
        switch step {
        case .attentionInput:
            beginAttention(layer)
            return beginInput(step, number, isShared: number > 0 && !addsFeedForward(number - 1))
        case .outputInput: return beginInput(step, number, isShared: false)
        case .feedForwardInput:
            return beginInput(step, number, isShared: layer.pointee.feedForward == nil || !layer.pointee.addsAttention)
        case .keys: return meetEachOther ? rowParts : 0
        case .attention: return attention.parts
        case .downUpdates:
            beginProducts(step, number)
            return memory.shared.products.pointee.innerParts(atMost: threadCount)
        case .queryKeyValueUpdates, .outputUpdates, .gateUpUpdates:
            return memory.shared.products.pointee.innerParts(atMost: threadCount)
        case .queryKeyValue, .output, .gateUp, .down:
            return FewRowsProducts.parts(ofCost: cost(of: step.products, layer), atMost: threadCount)
        }
    }

    /// Into how many parts it is worth splitting the rows.
    private var rowParts: Int { max(1, min(threadCount, rowCount, rowCount * dim >> 12)) }

    /// Into how many parts the making of an input is split: none if each thread makes it for itself.
    private func beginInput(_ step: DecoderStep, _ number: Int, isShared: Bool) -> Int {
        beginProducts(step, number)
        let parts = rowParts
        sharesInput = isShared || parts > 1
        return sharesInput ? parts : 0
    }

    /// Those with updates are shared, as the updates' inner products are.
    private func beginProducts(_ step: DecoderStep, _ number: Int) {
        productNumber += 1
        guard !updates.isEmpty else { return }
        append(step.products, number, to: &memory.shared.products.pointee)
    }

    private func perform(_ step: DecoderStep, _ number: Int, part: Int, thread: Int) {
        let layer = layers.baseAddress! + number
        let rows = rowCount * part / parts..<rowCount * (part + 1) / parts
        switch step {
        case .attentionInput, .outputInput, .feedForwardInput:
            makeInput(of: step.products, number, rows, memory.shared)
        case .keys: for row in rows { storeKeys(layer, row, 0..<layer.pointee.keyHeads) }
        case .attention:
            attention.compute(part, of: parts, thread: thread) { row, keyHeads, newest in
                if !meetEachOther { storeKeys(layer, row, newest) }
                return turnQueries(layer, row, keyHeads, memory.own(thread))
            }
        case .queryKeyValueUpdates, .outputUpdates, .gateUpUpdates, .downUpdates:
            let (products, input) = prepare(step.products, number, thread)
            products.pointee.computeInner(part, of: parts, input)
        case .queryKeyValue, .output, .gateUp, .down:
            let (products, input) = prepare(step.products, number, thread)
            let units = products.pointee.units(of: part, parts)
            products.pointee.compute(units, input, next: reads.after(step, ofLayer: number, thread: part))
            complete(step.products, number, products, units)
            // Keys lie apart from each other: what is asked for now comes while the threads meet
            if step == .queryKeyValue, part < attention.parts { attention.prefetch(part, of: attention.parts) }
        }
    }

    /// Products and their input, for a thread to compute some: what all share, or what the thread prepares for itself when
    /// it first takes part.
    private func prepare(
        _ products: DecoderProducts, _ number: Int, _ thread: Int
    ) -> (products: UnsafeMutablePointer<FewRowsProducts>, input: FewRowsInput) {
        let (shared, own) = (memory.shared, memory.own(thread))
        if own.number.pointee != productNumber {
            own.number.pointee = productNumber
            if updates.isEmpty { append(products, number, to: &own.products.pointee) }
            if products != .down, !sharesInput { makeInput(of: products, number, 0..<rowCount, own) }
        }
        return (
            updates.isEmpty ? own.products : shared.products,
            input(of: products, layers.baseAddress! + number, sharesInput ? shared : own)
        )
    }
}
