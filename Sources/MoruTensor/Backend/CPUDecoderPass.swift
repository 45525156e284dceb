import CMoruKernels

/// A decoder's layers on the CPU.
///
/// Layers that follow each other are passed in one go (``CPUDecoderRows``). Only mixtures of experts, whose products
/// depend on what their routers choose, are computed between two of them. Unchecked: only the initializer writes.
final class CPUDecoderPass: DecoderPass, @unchecked Sendable {
    private let backend: CPUBackend
    /// What the layers without references are made of.
    private let sources: [DecoderLayer]
    private let layers: UnsafeMutableBufferPointer<CPUDecoderLayer>
    private let reads: DecoderReads
    /// The numbers of those with mixtures of experts.
    private let mixtures: [Int]
    /// Those of the largest layer.
    private let sizes: CPUDecoderLayer.Sizes

    init(_ backend: CPUBackend, _ sources: [DecoderLayer]) {
        (self.backend, self.sources) = (backend, sources)
        layers = .allocate(capacity: sources.count)
        _ = layers.initialize(from: sources.map { CPUDecoderLayer($0, backend.threads) })
        reads = DecoderReads(layers, threadCount: backend.threads.threadCount)
        mixtures = layers.indices.filter { [layers] in layers[$0].feedForward == nil }
        sizes = layers.reduce(layers[0].sizes) { $0.union($1.sizes) }
    }

    deinit { layers.deallocate() }

    func callAsFunction(
        _ embedded: Tensor, runs: [CachedAttentionRun], angles: [RotaryAngles], updates: [RowUpdates]
    ) -> (residual: Tensor, delta: Tensor) {
        precondition(
            embedded.rank == 2 && embedded.shape[0] <= Runtime.fewRows
                && embedded.shape[1] == sources[0].inputNorm.count
                && !embedded.isTracked && runs.count == embedded.shape[0]
                && runs.enumerated().allSatisfy { $1.rows == $0..<$0 + 1 && $1.firstPosition >= 0 },
            "decoderPass: \(embedded.shape) and \(runs.count) runs are not few rows one by one")
        for run in runs { run.cache.reserve(run.firstPosition + 1) }
        let rows = CPUDecoderRows(
            backend, embedded, UnsafeBufferPointer(layers), reads, sizes, runs: runs, angles: angles, updates: updates)
        var begin = 0
        for number in mixtures {
            rows.pass(begin..<number + 1)
            if case .experts(let router, let options, let weights) = sources[number].feedForward {
                backend.multiplyByExperts(
                    rows.memory.shared.floats, rows: embedded.shape[0], router, options, weights, to: rows.delta.floats)
            }
            begin = number + 1
        }
        rows.pass(begin..<layers.count)
        return withExtendedLifetime((self, angles, updates)) { rows.finish() }
    }
}

extension CPUBackend {
    func decoderPass(_ layers: [DecoderLayer]) -> any DecoderPass { CPUDecoderPass(self, layers) }
}
