import CMoruKernels

// What the steps of a layer compute, row by row.
extension CPUDecoderRows {
    // MARK: - Attention

    func beginQueryKeyValue(_ layer: Layer) {
        products.begin(input(normalized, dim))
        append(layer.pointee.query, to: q)
        append(layer.pointee.key, to: k)
        append(layer.pointee.value, to: v)
        products.end()
    }

    /// Completes what the layer before adds to the residual stream, and normalises that.
    func makeAttentionInput(_ layer: Layer, after former: Layer?, _ rows: Range<Int>) {
        if let former { finishFeedForward(former, rows) }
        normalize(layer.pointee.inputNorm, layer.pointee.epsilon, addsDelta: former != nil, rows)
        if layer.pointee.roundsAttentionInput { input(normalized, dim).round(rows, productKernels) }
    }

    /// Turns queries and keys by their rows' positions, and stores keys and values there.
    func position(_ layer: Layer, _ rows: Range<Int>) {
        addBias(layer.pointee.query, to: q, rows)
        addBias(layer.pointee.key, to: k, rows)
        addBias(layer.pointee.value, to: v, rows)
        turn(q, heads: layer.pointee.heads, layer.pointee.queryNorm, layer, rows)
        turn(k, heads: layer.pointee.keyHeads, layer.pointee.keyNorm, layer, rows)
        let keys = layer.pointee.key.outputs
        for row in rows {
            let (number, position) = (layer.pointee.number, runs[row].firstPosition)
            runs[row].cache.store(k + row * keys, v + row * keys, count: 1, layer: number, position: position)
        }
    }

    /// Normalises heads and turns them, where the model does.
    private func turn(
        _ x: UnsafeMutablePointer<Float>, heads: Int, _ norm: UnsafePointer<Float>?, _ layer: Layer, _ rows: Range<Int>
    ) {
        let (headDim, epsilon) = (layer.pointee.headDim, layer.pointee.epsilon)
        if let norm {
            kernels.rms_norm(x, norm, epsilon, x, nil, headDim, rows.lowerBound * heads, rows.upperBound * heads)
        }
        guard let number = layer.pointee.angles else { return }
        let angles = angles[number]
        kernels.rope(
            x, angles.cosines.floats, angles.sines.floats, x, heads, headDim, angles.rotated, angles.interleaved, false,
            rows.lowerBound, rows.upperBound)
    }

    func beginAttention(_ layer: Layer) {
        attention.removeAll()
        let (rowElements, number, options) = (
            layer.pointee.query.outputs, layer.pointee.number, layer.pointee.options
        )
        for (row, run) in runs.enumerated() {
            var one = moru_attention()
            one.q = UnsafeRawPointer(q + row * rowElements)
            one.out = UnsafeMutableRawPointer(mixed + row * rowElements)
            (one.rows, one.q_row_stride, one.out_row_stride) = (1, rowElements, rowElements)
            (one.heads, one.kv_heads) = (layer.pointee.heads, layer.pointee.keyHeads)
            one.head_dim = layer.pointee.headDim
            (one.first_position, one.kv_count) = (run.firstPosition, run.firstPosition + 1)
            one.k_pages = run.cache.keyPages(layer: number)
            one.v_pages = run.cache.valuePages(layer: number)
            (one.page_tokens, one.kv_row_stride) = (SequenceCache.pageTokens, run.cache.rowElements)
            one.kv_type = run.cache.dtype.kernelType!
            one.allow_bf16 = roundsQueries && one.kv_type != MORU_F32
            (one.causal, one.window) = (options.causal, options.window ?? 0)
            (one.scale, one.softcap) = (options.scale, options.softcap ?? 0)
            attention.append(one)
        }
    }

    func beginOutput(_ layer: Layer) {
        products.begin(input(mixed, layer.pointee.query.outputs))
        append(layer.pointee.output, to: delta.floats)
        products.end()
    }

    /// Joins what has been made of the rows' keys.
    func joinAttention(_ layer: Layer, _ rows: Range<Int>) {
        for row in rows { attention.join(row) }
        if layer.pointee.output.weight.isPacked {
            input(mixed, layer.pointee.query.outputs).round(rows, productKernels)
        }
    }

    // MARK: - Feed-forward

    func beginGateUp(_ layer: Layer, before next: Layer?) {
        guard let feedForward = layer.pointee.feedForward else { return }
        products.begin(input(normalized, dim))
        append(feedForward.gate, to: gates)
        append(feedForward.up, to: gated)
        products.end()
        guard !updates.isEmpty, let next else { return }
        // The matrices of adapters are not read one after the other, so they are asked for
        for place in [next.pointee.query.place, next.pointee.key.place, next.pointee.value.place] {
            for (_, factors) in updates(at: place) { products.ahead.append(factors.bytes) }
        }
    }

    func makeFeedForwardInput(_ layer: Layer, _ rows: Range<Int>) {
        finish(layer.pointee.output, layer.pointee.postAttentionNorm, layer, rows)
        normalize(layer.pointee.feedForwardNorm, layer.pointee.epsilon, addsDelta: true, rows)
        if layer.pointee.feedForward?.roundsInput ?? false { input(normalized, dim).round(rows, productKernels) }
    }

    func beginDown(_ layer: Layer) {
        guard let feedForward = layer.pointee.feedForward else { return }
        products.begin(input(gates, feedForward.gate.outputs))
        append(feedForward.down, to: delta.floats)
        products.end()
    }

    /// Multiplies by the activation of the gate.
    func gate(_ layer: Layer, _ rows: Range<Int>) {
        guard let feedForward = layer.pointee.feedForward else { return }
        let inner = feedForward.gate.outputs
        addBias(feedForward.gate, to: gates, rows)
        addBias(feedForward.up, to: gated, rows)
        backend.gate(gates, gated, by: feedForward.activation, rows.lowerBound * inner..<rows.upperBound * inner)
        if feedForward.down.weight.isPacked { input(gates, inner).round(rows, productKernels) }
    }

    /// Completes what a layer's feed-forward adds to the residual stream.
    func finishFeedForward(_ layer: Layer, _ rows: Range<Int>) {
        finish(layer.pointee.feedForward?.down, layer.pointee.postFeedForwardNorm, layer, rows)
    }

    // MARK: - What both halves do

    private func input(_ x: UnsafeMutablePointer<Float>, _ inputs: Int) -> FewRowsInput {
        FewRowsInput(x, inputs: inputs, rounded: rounded)
    }

    /// Appends the product of all rows with a projection, and the updates of some of them.
    private func append(_ projection: CPUDecoderLayer.Projection, to y: UnsafeMutablePointer<Float>) {
        products.append(projection.weight, rows: 0..<rowCount, to: y)
        for (rows, factors) in updates(at: projection.place) { products.update(rows, by: factors) }
    }

    private func addBias(
        _ projection: CPUDecoderLayer.Projection, to y: UnsafeMutablePointer<Float>, _ rows: Range<Int>
    ) {
        guard let bias = projection.bias else { return }
        let count = projection.outputs
        for row in rows { kernels.add(y + row * count, bias, y + row * count, 0, count) }
    }

    /// Completes what half of a layer adds to the residual stream.
    private func finish(
        _ projection: CPUDecoderLayer.Projection?, _ norm: UnsafePointer<Float>?, _ layer: Layer, _ rows: Range<Int>
    ) {
        let y = delta.floats
        if let projection { addBias(projection, to: y, rows) }
        if let norm { kernels.rms_norm(y, norm, layer.pointee.epsilon, y, nil, dim, rows.lowerBound, rows.upperBound) }
        guard layer.pointee.residualScale != 1 else { return }
        kernels.scale(y, layer.pointee.residualScale, y, rows.lowerBound * dim, rows.upperBound * dim)
    }

    /// Adds what the last half left to the residual stream, and normalises it.
    private func normalize(_ weight: UnsafePointer<Float>, _ epsilon: Float, addsDelta: Bool, _ rows: Range<Int>) {
        var arguments = moru_add_rms_norm()
        arguments.dim = dim
        arguments.x = addsDelta ? delta.bytes : residual.bytes
        arguments.residual = addsDelta ? residual.bytes : nil
        arguments.sum = addsDelta ? UnsafeMutableRawPointer(residual.floats) : nil
        (arguments.w, arguments.epsilon) = (weight, epsilon)
        arguments.y = UnsafeMutableRawPointer(normalized)
        kernels.add_rms_norm(&arguments, rows.lowerBound, rows.upperBound)
    }
}
