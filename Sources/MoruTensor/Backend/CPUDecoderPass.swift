import CMoruKernels

/// A few rows on their way through a decoder's layers, on the CPU.
///
/// All intermediate values lie in one piece of memory that the layers use again and again, so that it stays in the
/// cache, and nothing is allocated but once a pass.
struct CPUDecoderPass: DecoderPass {
    let backend: CPUBackend
    let kernels: moru_kernels
    let rows: Int
    let dim: Int
    private let runs: [CachedAttentionRun]
    private let angles: RotaryAngles
    private let residual: Tensor
    let delta: Tensor
    private var hasDelta = false
    private var work = Tensor(uninitialized: [0])
    /// What mixtures of experts work with.
    var expertWork = Tensor(uninitialized: [0])

    init(_ backend: CPUBackend, _ embedded: Tensor, runs: [CachedAttentionRun], angles: RotaryAngles) {
        self.backend = backend
        kernels = backend.kernels
        (rows, dim) = (embedded.shape[0], embedded.shape[1])
        self.runs = runs
        self.angles = angles
        residual = embedded.copied()
        delta = Tensor(uninitialized: embedded.shape)
        for run in runs { run.cache.reserve(run.firstPosition + 1) }
    }

    func result() -> (residual: Tensor, delta: Tensor) {
        if !hasDelta { delta.floats.update(repeating: 0, count: rows * dim) }
        return (residual, delta)
    }

    mutating func apply(_ layer: DecoderLayer) {
        let (queries, keys) = (layer.query.weight.shape[0], layer.key.weight.shape[0])
        var inner = 0
        if case .dense(let gate, _, _) = layer.feedForward { inner = gate.weight.shape[0] }
        let needed = rows * (dim + 2 * queries + 2 * keys + 2 * inner)
        if work.count < needed { work = Tensor(uninitialized: [needed]) }
        let normalized = work.floats
        let q = normalized + rows * dim
        let mixed = q + rows * queries
        let k = mixed + rows * queries
        let v = k + rows * keys

        normalize(layer.inputNorm, layer.epsilon, to: normalized)
        project(normalized, [(layer.query, q), (layer.key, k), (layer.value, v)])
        let headDim = queries / layer.heads
        turn(q, heads: layer.heads, headDim, layer.queryNorm, layer)
        turn(k, heads: keys / headDim, headDim, layer.keyNorm, layer)
        for (row, run) in runs.enumerated() {
            run.cache.store(
                k + row * keys, v + row * keys, count: 1, layer: layer.number, position: run.firstPosition)
        }
        attend(layer, q, mixed, headDim)
        project(mixed, [(layer.output, delta.floats)])
        finishDelta(layer, layer.postAttentionNorm)
        hasDelta = true
        normalize(layer.feedForwardNorm, layer.epsilon, to: normalized)
        switch layer.feedForward {
        case .dense(let gate, let up, let down):
            let gates = v + rows * keys
            let gated = gates + rows * inner
            project(normalized, [(gate, gates), (up, gated)], next: layer.nextUpdates)
            backend.forElements(rows * inner) { activate(gates, gated, layer.activation, $0..<$1) }
            project(gates, [(down, delta.floats)])
        case .experts(let router, let options, let weights):
            apply(router, options, weights, to: normalized)
        }
        finishDelta(layer, layer.postFeedForwardNorm)
    }

    /// Multiplies `up` by the activation of `gate`, in its place.
    func activate(
        _ gate: UnsafeMutablePointer<Float>, _ up: UnsafeMutablePointer<Float>, _ function: Activation,
        _ range: Range<Int>
    ) {
        var arguments = moru_gated()
        (arguments.function, arguments.dim) = (function.gateFunction, range.count)
        (arguments.input_type, arguments.output_type) = (MORU_F32, MORU_F32)
        arguments.gate = UnsafeRawPointer(gate + range.lowerBound)
        arguments.up = UnsafeRawPointer(up + range.lowerBound)
        arguments.y = UnsafeMutableRawPointer(gate + range.lowerBound)
        kernels.gated_rows(&arguments, 0, 1)
    }

    /// What becomes of a half's output before it goes to the residual stream.
    private func finishDelta(_ layer: DecoderLayer, _ norm: Tensor?) {
        if let norm { kernels.rms_norm(delta.floats, norm.floats, layer.epsilon, delta.floats, nil, dim, 0, rows) }
        let factor = layer.residualScale
        guard factor != 1 else { return }
        backend.forElements(rows * dim) { kernels.scale(delta.floats, factor, delta.floats, $0, $1) }
    }

    /// Adds what the last step left to the residual stream, and normalises it.
    private func normalize(_ weight: Tensor, _ epsilon: Float, to y: UnsafeMutablePointer<Float>) {
        var arguments = moru_add_rms_norm()
        arguments.dim = dim
        arguments.x = hasDelta ? delta.bytes : residual.bytes
        arguments.residual = hasDelta ? residual.bytes : nil
        arguments.sum = hasDelta ? UnsafeMutableRawPointer(residual.floats) : nil
        arguments.w = UnsafePointer(weight.floats)
        arguments.epsilon = epsilon
        arguments.y = UnsafeMutableRawPointer(y)
        kernels.add_rms_norm(&arguments, 0, rows)
    }

    private func project(
        _ x: UnsafeMutablePointer<Float>, _ projections: [(DecoderLayer.Projection, UnsafeMutablePointer<Float>)],
        next: ArraySlice<DecoderLayer.Update> = []
    ) {
        backend.multiplyFewRows(x, rows: rows, projections.map { (projection: $0, y: $1) }, next: next)
        for (projection, y) in projections {
            guard let bias = projection.bias else { continue }
            for row in 0..<rows { kernels.add(y + row * bias.count, bias.floats, y + row * bias.count, 0, bias.count) }
        }
    }

    /// Normalises heads and turns them by their row's angles, where the model does.
    private func turn(
        _ x: UnsafeMutablePointer<Float>, heads: Int, _ headDim: Int, _ norm: Tensor?, _ layer: DecoderLayer
    ) {
        if let norm { kernels.rms_norm(x, norm.floats, layer.epsilon, x, nil, headDim, 0, rows * heads) }
        guard layer.isRotated else { return }
        let angles = layer.angles ?? angles
        kernels.rope(
            x, angles.cosines.floats, angles.sines.floats, x, heads, headDim, angles.rotated, angles.interleaved, false,
            0, rows)
    }

    private func attend(
        _ layer: DecoderLayer, _ q: UnsafeMutablePointer<Float>, _ out: UnsafeMutablePointer<Float>, _ headDim: Int
    ) {
        let rowElements = layer.heads * headDim
        let all = runs.enumerated().map { row, run in
            var one = moru_attention()
            one.q = UnsafeRawPointer(q + row * rowElements)
            one.out = UnsafeMutableRawPointer(out + row * rowElements)
            (one.rows, one.q_row_stride, one.out_row_stride) = (1, rowElements, rowElements)
            (one.heads, one.head_dim) = (layer.heads, headDim)
            (one.kv_heads, one.kv_row_stride) = (run.cache.rowElements / headDim, run.cache.rowElements)
            (one.first_position, one.kv_count) = (run.firstPosition, run.firstPosition + 1)
            one.k_pages = run.cache.keyPages(layer: layer.number)
            one.v_pages = run.cache.valuePages(layer: layer.number)
            one.page_tokens = SequenceCache.pageTokens
            one.kv_type = run.cache.dtype.kernelType!
            (one.causal, one.window) = (layer.attention.causal, layer.attention.window ?? 0)
            (one.scale, one.softcap) = (layer.attention.scale, layer.attention.softcap ?? 0)
            return one
        }
        backend.run(all)
    }
}

extension CPUBackend {
    func decoderPass(_ embedded: Tensor, runs: [CachedAttentionRun], angles: RotaryAngles) -> any DecoderPass {
        CPUDecoderPass(self, embedded, runs: runs, angles: angles)
    }
}
