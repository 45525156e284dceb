import CMoruKernels

// What the steps of a layer compute, row by row.
extension CPUDecoderRows {
    // MARK: - Attention

    func beginQueryKeyValue(_ layer: borrowing CPUDecoderLayer) {
        products.begin(input(normalized, dim))
        append(layer.query, to: q)
        append(layer.key, to: k)
        append(layer.value, to: v)
        products.end()
    }

    /// Completes what the layer before adds to the residual stream.
    func makeAttentionInput(_ number: Int, _ rows: Range<Int>) {
        if number > 0 { finishFeedForward(layers[number - 1], rows) }
        normalize(layers[number].inputNorm, layers[number].epsilon, addsDelta: number > 0, rows)
        if layers[number].roundsAttentionInput { input(normalized, dim).round(rows, productKernels) }
    }

    /// Turns queries and keys by their rows' positions, and stores keys and values there.
    func position(_ layer: borrowing CPUDecoderLayer, _ rows: Range<Int>) {
        addBias(layer.query, to: q, rows)
        addBias(layer.key, to: k, rows)
        addBias(layer.value, to: v, rows)
        turn(q, heads: layer.heads, layer.queryNorm, layer, rows)
        turn(k, heads: layer.keyHeads, layer.keyNorm, layer, rows)
        let keys = layer.key.outputs
        for row in rows {
            runs[row].cache.store(
                k + row * keys, v + row * keys, count: 1, layer: layer.number, position: runs[row].firstPosition)
        }
    }

    /// Normalises heads and turns them, where the model does.
    private func turn(
        _ x: UnsafeMutablePointer<Float>, heads: Int, _ norm: UnsafePointer<Float>?, _ layer: borrowing CPUDecoderLayer,
        _ rows: Range<Int>
    ) {
        if let norm {
            kernels.rms_norm(
                x, norm, layer.epsilon, x, nil, layer.headDim, rows.lowerBound * heads, rows.upperBound * heads)
        }
        guard let number = layer.angles else { return }
        let angles = angles[number]
        kernels.rope(
            x, angles.cosines.floats, angles.sines.floats, x, heads, layer.headDim, angles.rotated, angles.interleaved,
            false, rows.lowerBound, rows.upperBound)
    }

    func beginAttention(_ layer: borrowing CPUDecoderLayer) {
        attention.removeAll()
        let rowElements = layer.query.outputs
        for (row, run) in runs.enumerated() {
            var one = moru_attention()
            one.q = UnsafeRawPointer(q + row * rowElements)
            one.out = UnsafeMutableRawPointer(mixed + row * rowElements)
            (one.rows, one.q_row_stride, one.out_row_stride) = (1, rowElements, rowElements)
            (one.heads, one.kv_heads, one.head_dim) = (layer.heads, layer.keyHeads, layer.headDim)
            (one.first_position, one.kv_count) = (run.firstPosition, run.firstPosition + 1)
            one.k_pages = run.cache.keyPages(layer: layer.number)
            one.v_pages = run.cache.valuePages(layer: layer.number)
            (one.page_tokens, one.kv_row_stride) = (SequenceCache.pageTokens, run.cache.rowElements)
            one.kv_type = run.cache.dtype.kernelType!
            one.allow_bf16 = roundsQueries && one.kv_type != MORU_F32
            (one.causal, one.window) = (layer.options.causal, layer.options.window ?? 0)
            (one.scale, one.softcap) = (layer.options.scale, layer.options.softcap ?? 0)
            attention.append(one)
        }
    }

    func beginOutput(_ layer: borrowing CPUDecoderLayer) {
        products.begin(input(mixed, layer.query.outputs))
        append(layer.output, to: delta.floats)
        products.end()
    }

    /// Joins what has been made of the rows' keys.
    func joinAttention(_ layer: borrowing CPUDecoderLayer, _ rows: Range<Int>) {
        for row in rows { attention.join(row) }
        if layer.output.weight.isPacked { input(mixed, layer.query.outputs).round(rows, productKernels) }
    }

    // MARK: - Feed-forward

    func beginGateUp(_ number: Int) {
        guard let feedForward = layers[number].feedForward else { return }
        products.begin(input(normalized, dim))
        append(feedForward.gate, to: gates)
        append(feedForward.up, to: gated)
        products.end()
        guard !updates.isEmpty, number + 1 < layers.count else { return }
        // The matrices of adapters are not read one after the other, so they are asked for
        let next = number + 1
        for place in [layers[next].query.place, layers[next].key.place, layers[next].value.place] {
            for (_, factors) in updates(at: place) { products.ahead.append(factors.bytes) }
        }
    }

    func makeFeedForwardInput(_ layer: borrowing CPUDecoderLayer, _ rows: Range<Int>) {
        finish(layer.output, layer.postAttentionNorm, layer, rows)
        normalize(layer.feedForwardNorm, layer.epsilon, addsDelta: true, rows)
        if layer.feedForward?.roundsInput ?? false { input(normalized, dim).round(rows, productKernels) }
    }

    func beginDown(_ layer: borrowing CPUDecoderLayer) {
        guard let feedForward = layer.feedForward else { return }
        products.begin(input(gates, feedForward.gate.outputs))
        append(feedForward.down, to: delta.floats)
        products.end()
    }

    /// Multiplies by the activation of the gate.
    func gate(_ layer: borrowing CPUDecoderLayer, _ rows: Range<Int>) {
        guard let feedForward = layer.feedForward else { return }
        let inner = feedForward.gate.outputs
        addBias(feedForward.gate, to: gates, rows)
        addBias(feedForward.up, to: gated, rows)
        backend.gate(
            gates, gated, by: feedForward.activation, rows.lowerBound * inner..<rows.upperBound * inner)
        if feedForward.down.weight.isPacked { input(gates, inner).round(rows, productKernels) }
    }

    /// Completes what a layer's feed-forward adds to the residual stream.
    func finishFeedForward(_ layer: borrowing CPUDecoderLayer, _ rows: Range<Int>) {
        finish(layer.feedForward?.down, layer.postFeedForwardNorm, layer, rows)
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
        _ projection: CPUDecoderLayer.Projection?, _ norm: UnsafePointer<Float>?, _ layer: borrowing CPUDecoderLayer,
        _ rows: Range<Int>
    ) {
        let y = delta.floats
        if let projection { addBias(projection, to: y, rows) }
        if let norm { kernels.rms_norm(y, norm, layer.epsilon, y, nil, dim, rows.lowerBound, rows.upperBound) }
        guard layer.residualScale != 1 else { return }
        kernels.scale(y, layer.residualScale, y, rows.lowerBound * dim, rows.upperBound * dim)
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
