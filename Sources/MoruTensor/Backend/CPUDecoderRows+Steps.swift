import CMoruKernels

// What the steps of a layer compute.
extension CPUDecoderRows {
    // MARK: - Products

    /// Begins products anew with those of a layer.
    func append(_ kind: DecoderProducts, _ number: Int, to products: inout FewRowsProducts) {
        let layer = layers.baseAddress! + number
        products.begin()
        switch kind {
        case .queryKeyValue:
            append(layer.pointee.query, memory.q, to: &products)
            append(layer.pointee.key, memory.k, to: &products)
            append(layer.pointee.value, memory.v, to: &products)
        case .output: append(layer.pointee.output, delta.floats, to: &products)
        case .gateUp:
            guard let feedForward = layer.pointee.feedForward else { return }
            append(feedForward.gate, memory.gates, to: &products)
            append(feedForward.up, memory.gated, to: &products, isBeside: true)
        case .down:
            guard let down = layer.pointee.feedForward?.down else { return }
            append(down, delta.floats, to: &products)
        }
        guard !updates.isEmpty else { return }
        products.end()
        guard kind == .gateUp, let next = self.layer(number + 1) else { return }
        // The matrices of adapters are not read one after the other, so they are asked for
        for place in [next.pointee.query.place, next.pointee.key.place, next.pointee.value.place] {
            for (_, factors) in updates(at: place) { products.ahead.append(factors.bytes) }
        }
    }

    /// Appends the product of all rows with a projection to `y`, and the updates of some of them.
    private func append(
        _ projection: CPUDecoderLayer.Projection, _ y: UnsafeMutablePointer<Float>,
        to products: inout FewRowsProducts, isBeside: Bool = false
    ) {
        products.append(projection.weight, rows: 0..<rowCount, to: y, isBeside: isBeside)
        guard !updates.isEmpty else { return }
        for (rows, factors) in updates(at: projection.place) { products.update(rows, by: factors) }
    }

    /// What products cost without their updates.
    func cost(of products: DecoderProducts, _ layer: Layer) -> Int {
        func cost(_ projection: CPUDecoderLayer.Projection) -> Int {
            projection.weight.cost(rows: rowCount) * projection.outputs
        }
        switch (products, layer.pointee.feedForward) {
        case (.queryKeyValue, _):
            return cost(layer.pointee.query) + cost(layer.pointee.key) + cost(layer.pointee.value)
        case (.output, _): return cost(layer.pointee.output)
        case (.gateUp, let feedForward?): return cost(feedForward.gate) + cost(feedForward.up)
        case (.down, let feedForward?): return cost(feedForward.down)
        case (_, nil): return 0
        }
    }

    /// Does what follows with outputs alone that a thread has just computed: some units of products.
    func complete(
        _ kind: DecoderProducts, _ number: Int, _ products: UnsafePointer<FewRowsProducts>, _ units: Range<Int>
    ) {
        let layer = layers.baseAddress! + number
        func columns(_ index: Int) -> Range<Int> { products.pointee.columns(units, ofProduct: index) }
        switch kind {
        case .queryKeyValue:
            addBias(layer.pointee.query, to: memory.q, columns(0))
            addBias(layer.pointee.key, to: memory.k, columns(1))
            addBias(layer.pointee.value, to: memory.v, columns(2))
        case .output:
            if layer.pointee.addsAttention { addToStream(layer.pointee.output, layer, columns(0)) }
        case .gateUp:
            if let feedForward = layer.pointee.feedForward { gate(feedForward, columns(0)) }
        case .down:
            guard addsFeedForward(number), let down = layer.pointee.feedForward?.down else { return }
            addToStream(down, layer, columns(0))
        }
    }

    private func addBias(
        _ projection: CPUDecoderLayer.Projection, to y: UnsafeMutablePointer<Float>,
        _ columns: @autoclosure () -> Range<Int>
    ) {
        guard let bias = projection.bias else { return }
        let (columns, width) = (columns(), projection.outputs)
        for first in stride(from: 0, to: rowCount * width, by: width) {
            kernels.add(y + first, bias, y + first, columns.lowerBound, columns.upperBound)
        }
    }

    /// Adds some columns of what half of a layer gives to the residual stream.
    private func addToStream(_ projection: CPUDecoderLayer.Projection, _ layer: Layer, _ columns: Range<Int>) {
        let (begin, end, scale) = (columns.lowerBound, columns.upperBound, layer.pointee.residualScale)
        addBias(projection, to: delta.floats, columns)
        for first in stride(from: 0, to: rowCount * dim, by: dim) {
            let (y, sum) = (delta.floats + first, residual.floats + first)
            if scale != 1 { kernels.scale(y, scale, y, begin, end) }
            kernels.add(y, sum, sum, begin, end)
        }
    }

    /// Multiplies some columns by the activation of the gate, and rounds them for the product with `down`: whole blocks of
    /// what is rounded, as the columns are units of products.
    private func gate(_ feedForward: CPUDecoderLayer.FeedForward, _ columns: Range<Int>) {
        guard !columns.isEmpty else { return }
        addBias(feedForward.gate, to: memory.gates, columns)
        addBias(feedForward.up, to: memory.gated, columns)
        backend.gate(
            memory.gates, memory.gated, by: feedForward.activation, columns, rows: rowCount,
            width: feedForward.gate.outputs)
        guard feedForward.down.weight.isPacked else { return }
        gatesInput(feedForward.gate.outputs).round(0..<rowCount, columns: columns, productKernels)
    }

    // MARK: - Attention

    func beginAttention(_ layer: Layer) {
        attention.removeAll()
        let (rowElements, number, options) = (
            layer.pointee.query.outputs, layer.pointee.number, layer.pointee.options
        )
        for (row, run) in runs.enumerated() {
            var one = moru_attention()
            one.q = UnsafeRawPointer(memory.q + row * rowElements)
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

    /// Turns some heads of a row's keys by its position, and stores them with their values.
    func storeKeys(_ layer: Layer, _ row: Int, _ heads: Range<Int>) {
        guard !heads.isEmpty else { return }
        let first = row * layer.pointee.key.outputs + heads.lowerBound * layer.pointee.headDim
        let (k, v) = (memory.k + first, memory.v + first)
        turn(k, k, heads: heads.count, layer.pointee.keyNorm, layer, row)
        attention.store(k, v, row, heads)
    }

    /// Turns those queries of a row by its position that meet some heads of keys, into memory of the thread's own, since
    /// another thread may turn them too.
    func turnQueries(
        _ layer: Layer, _ row: Int, _ keyHeads: Range<Int>, _ own: CPUDecoderMemory.Desk
    ) -> UnsafeRawPointer {
        let (width, headDim) = (layer.pointee.query.outputs, layer.pointee.headDim)
        let (from, to) = (memory.q + row * width, own.floats + row * width)
        let share = layer.pointee.heads / layer.pointee.keyHeads
        let first = keyHeads.lowerBound * share * headDim
        turn(from + first, to + first, heads: keyHeads.count * share, layer.pointee.queryNorm, layer, row)
        return UnsafeRawPointer(to)
    }

    /// Normalises heads of a row and turns them, where the model does, and writes them to `y`.
    private func turn(
        _ x: UnsafePointer<Float>, _ y: UnsafeMutablePointer<Float>, heads: Int, _ norm: UnsafePointer<Float>?,
        _ layer: Layer, _ row: Int
    ) {
        let headDim = layer.pointee.headDim
        var x = x
        if let norm {
            kernels.rms_norm(x, norm, layer.pointee.epsilon, y, nil, headDim, 0, heads)
            x = UnsafePointer(y)
        }
        if let number = layer.pointee.angles {
            let angles = angles[number]
            let first = row * angles.rotated / 2
            kernels.rope(
                x, angles.cosines + first, angles.sines + first, y, heads, headDim, angles.rotated, angles.interleaved,
                false, 0, 1)
        } else if x != UnsafePointer(y) {
            y.update(from: x, count: heads * headDim)
        }
    }

    // MARK: - Inputs

    /// The input of products, at a desk unless it is that of `down`, which is made by those who compute its factors.
    func input(of products: DecoderProducts, _ layer: Layer, _ desk: CPUDecoderMemory.Desk) -> FewRowsInput {
        if products == .down { return gatesInput(layer.pointee.sizes.inner) }
        let width = products == .output ? layer.pointee.query.outputs : dim
        return FewRowsInput(desk.floats, inputs: width, rounded: desk.rounded)
    }

    private func gatesInput(_ inner: Int) -> FewRowsInput {
        FewRowsInput(memory.gates, inputs: inner, rounded: memory.roundedGates)
    }

    /// Makes some rows of the input of products, other than `down`.
    func makeInput(of products: DecoderProducts, _ number: Int, _ rows: Range<Int>, _ desk: CPUDecoderMemory.Desk) {
        let layer = layers.baseAddress! + number
        let (input, isRounded) = (input(of: products, layer, desk), layer.pointee.roundsInput(of: products))
        switch products {
        case .queryKeyValue:
            let isComplete = number == 0 || addsFeedForward(number - 1)
            if !isComplete { finishFeedForward(layer - 1, rows) }
            normalize(layer.pointee.inputNorm, layer, addsDelta: !isComplete, rows, desk.floats)
        case .output:
            for row in rows { attention.join(row, to: desk.floats + row * layer.pointee.query.outputs) }
        case .gateUp:
            let isComplete = layer.pointee.addsAttention
            if !isComplete { finish(layer.pointee.output, layer.pointee.postAttentionNorm, layer, rows) }
            normalize(layer.pointee.feedForwardNorm, layer, addsDelta: !isComplete, rows, desk.floats)
        case .down: break
        }
        if isRounded { input.round(rows, productKernels) }
    }

    /// Completes what a layer's feed-forward adds to the residual stream.
    func finishFeedForward(_ layer: Layer, _ rows: Range<Int>) {
        finish(layer.pointee.feedForward?.down, layer.pointee.postFeedForwardNorm, layer, rows)
    }

    /// Completes what half of a layer adds to the residual stream.
    private func finish(
        _ projection: CPUDecoderLayer.Projection?, _ norm: UnsafePointer<Float>?, _ layer: Layer, _ rows: Range<Int>
    ) {
        let y = delta.floats
        if let bias = projection?.bias {
            for row in rows { kernels.add(y + row * dim, bias, y + row * dim, 0, dim) }
        }
        if let norm { kernels.rms_norm(y, norm, layer.pointee.epsilon, y, nil, dim, rows.lowerBound, rows.upperBound) }
        guard layer.pointee.residualScale != 1 else { return }
        kernels.scale(y, layer.pointee.residualScale, y, rows.lowerBound * dim, rows.upperBound * dim)
    }

    /// Normalises the residual stream, after adding what the last half of a layer left to it if that is still to do.
    private func normalize(
        _ weight: UnsafePointer<Float>, _ layer: Layer, addsDelta: Bool, _ rows: Range<Int>,
        _ y: UnsafeMutablePointer<Float>
    ) {
        var arguments = moru_add_rms_norm()
        arguments.dim = dim
        arguments.x = addsDelta ? delta.bytes : residual.bytes
        arguments.residual = addsDelta ? residual.bytes : nil
        arguments.sum = addsDelta ? UnsafeMutableRawPointer(residual.floats) : nil
        (arguments.w, arguments.epsilon) = (weight, layer.pointee.epsilon)
        arguments.y = UnsafeMutableRawPointer(y)
        kernels.add_rms_norm(&arguments, rows.lowerBound, rows.upperBound)
    }
}
