import CMoruKernels

extension CPUBackend {
    /// Query rows that one thread takes at a time.
    private static let rowBlock = 96

    /// A piece of attention work: some rows of some heads of one argument block.
    private struct Piece {
        var argument: Int
        var rows: Range<Int>
        var heads: Range<Int>
    }

    private func arguments(
        q: Tensor, rows: Range<Int>, firstPosition: Int, keyCount: Int, kvHeads: Int, out: Tensor,
        _ options: AttentionOptions
    ) -> moru_attention {
        let (heads, headDim) = (q.shape[1], q.shape[2])
        var arguments = moru_attention()
        arguments.rows = rows.count
        arguments.first_position = firstPosition
        arguments.kv_count = keyCount
        (arguments.heads, arguments.kv_heads, arguments.head_dim) = (heads, kvHeads, headDim)
        let begin = rows.lowerBound * heads * headDim * q.dtype.blockBytes
        arguments.io_type = q.dtype.kernelType!
        arguments.allow_bf16 = q.dtype == .bf16
        arguments.q = q.bytes + begin
        arguments.q_row_stride = heads * headDim
        arguments.kv_row_stride = kvHeads * headDim
        arguments.causal = options.causal
        arguments.window = options.window ?? 0
        arguments.scale = options.scale
        arguments.softcap = options.softcap ?? 0
        arguments.out = UnsafeMutableRawPointer(mutating: out.bytes + begin)
        arguments.out_row_stride = heads * headDim
        return arguments
    }

    func attention(
        q: Tensor, k: Tensor, v: Tensor, segments: [Range<Int>], _ options: AttentionOptions
    ) -> (out: Tensor, logSumExp: Tensor) {
        let (heads, kvHeads) = (q.shape[1], k.shape[1])
        let rowBytes = kvHeads * k.shape[2] * k.dtype.blockBytes
        let out = Tensor(uninitialized: q.shape, dtype: q.dtype)
        let logSumExp = Tensor(uninitialized: [q.shape[0], heads])
        let keys = segments.map { (k.bytes + $0.lowerBound * rowBytes) as UnsafeRawPointer? }
        let values = segments.map { (v.bytes + $0.lowerBound * rowBytes) as UnsafeRawPointer? }
        keys.withUnsafeBufferPointer { keys in
            values.withUnsafeBufferPointer { values in
                let all = segments.enumerated().map { index, segment in
                    var one = arguments(
                        q: q, rows: segment, firstPosition: 0, keyCount: segment.count, kvHeads: kvHeads, out: out,
                        options)
                    one.k_pages = keys.baseAddress! + index
                    one.v_pages = values.baseAddress! + index
                    one.page_tokens = segment.count
                    one.kv_type = k.dtype.kernelType!
                    one.log_sum_exp = logSumExp.floats + segment.lowerBound * heads
                    return one
                }
                withExtendedLifetime((q, k, v)) { run(all) }
            }
        }
        return (out, logSumExp)
    }

    func cachedAttention(q: Tensor, runs: [CachedAttentionRun], _ options: AttentionOptions) -> Tensor {
        let out = Tensor(uninitialized: q.shape)
        let all = runs.map { run in
            var one = arguments(
                q: q, rows: run.rows, firstPosition: run.firstPosition,
                keyCount: run.firstPosition + run.rows.count, kvHeads: run.cache.rowElements / q.shape[2], out: out,
                options)
            one.k_pages = run.cache.keyPages(layer: run.layer)
            one.v_pages = run.cache.valuePages(layer: run.layer)
            one.page_tokens = SequenceCache.pageTokens
            one.kv_type = run.cache.dtype.kernelType!
            return one
        }
        withExtendedLifetime((q, runs)) { run(all) }
        return out
    }

    /// Computes the attention of some rows, split between the threads. Keys that were rounded when they were stored meet
    /// factors rounded likewise, unless full precision is asked for.
    func run(_ exact: [moru_attention]) {
        var all = exact
        if runtime.allowsBF16 {
            for index in all.indices where all[index].kv_type != MORU_F32 { all[index].allow_bf16 = true }
        }
        guard all.contains(where: \.isCachedRow) else { return runBlocks(all) }
        guard !all.allSatisfy(\.isCachedRow) else { return runSingleRows(all) }
        runSingleRows(all.filter(\.isCachedRow))
        runBlocks(all.filter { !$0.isCachedRow })
    }

    private func runBlocks(_ all: [moru_attention]) {
        var pieces: [Piece] = []
        for (index, one) in all.enumerated() where one.rows > 0 {
            // Long sequences split by rows; a single row, or little work, by groups of query heads that share keys.
            let isWhole = one.rows > 1 && (one.rows * one.kv_count > 1 << 12 || all.count > 1)
            let headsAPiece = isWhole ? one.heads : one.heads / one.kv_heads
            for row in stride(from: 0, to: one.rows, by: Self.rowBlock) {
                for head in stride(from: 0, to: one.heads, by: headsAPiece) {
                    pieces.append(
                        Piece(
                            argument: index, rows: row..<min(one.rows, row + Self.rowBlock),
                            heads: head..<min(one.heads, head + headsAPiece)))
                }
            }
        }
        let isSmall = all.reduce(0) { $0 + $1.rows * $1.kv_count * $1.heads * $1.head_dim } < 1 << 17
        let scratchBytes = all.reduce(1) { most, one in
            max(most, withUnsafePointer(to: one) { kernels.attention_scratch_bytes($0) })
        }
        func compute(_ index: Int, _ scratch: UnsafeMutableRawPointer) {
            let piece = pieces[index]
            withUnsafePointer(to: all[piece.argument]) { pointer in
                kernels.attention(
                    pointer, piece.rows.lowerBound, piece.rows.upperBound, piece.heads.lowerBound,
                    piece.heads.upperBound, scratch)
            }
        }
        if isSmall {
            withScratch(scratchBytes) { scratch in
                for index in pieces.indices { compute(index, scratch) }
            }
        } else {
            // The last rows see the most keys: begin with them, so that the threads finish together.
            threads.run(pieces.count, scratchBytes: scratchBytes) { compute(pieces.count - 1 - $0, $1) }
        }
    }

    func attentionBackward(
        _ dOut: Tensor, q: Tensor, k: Tensor, v: Tensor, out: Tensor, logSumExp: Tensor, segments: [Range<Int>],
        _ options: AttentionOptions
    ) -> (q: Tensor, k: Tensor, v: Tensor) {
        let dOut = dOut.converted(to: q.dtype)
        let (heads, headDim, kvHeads) = (q.shape[1], q.shape[2], k.shape[1])
        let type = q.dtype
        let (queryBytes, keyBytes) = (heads * headDim * type.blockBytes, kvHeads * headDim * type.blockBytes)
        // The segments cover every row, and the kernel overwrites theirs
        let (dQ, dK, dV) = (
            Tensor(uninitialized: q.shape, dtype: type), Tensor(uninitialized: k.shape, dtype: type),
            Tensor(uninitialized: v.shape, dtype: type)
        )
        func arguments(_ segment: Range<Int>) -> moru_attention {
            var one = self.arguments(
                q: q, rows: segment, firstPosition: 0, keyCount: segment.count, kvHeads: kvHeads, out: out, options)
            one.page_tokens = segment.count
            one.kv_type = type.kernelType!
            one.log_sum_exp = logSumExp.floats + segment.lowerBound * heads
            return one
        }
        let scratchBytes = segments.reduce(1) { most, segment in
            max(most, withUnsafePointer(to: arguments(segment)) { kernels.attention_backward_scratch_bytes($0) })
        }
        threads.run(segments.count * kvHeads, scratchBytes: scratchBytes) { index, scratch in
            let (segmentIndex, kvHead) = index.quotientAndRemainder(dividingBy: kvHeads)
            let segment = segments[segmentIndex]
            guard !segment.isEmpty else { return }
            var one = arguments(segment)
            var gradient = moru_attention_gradient()
            gradient.d_out = dOut.bytes + segment.lowerBound * queryBytes
            gradient.d_q = UnsafeMutableRawPointer(mutating: dQ.bytes + segment.lowerBound * queryBytes)
            gradient.d_k = UnsafeMutableRawPointer(mutating: dK.bytes + segment.lowerBound * keyBytes)
            gradient.d_v = UnsafeMutableRawPointer(mutating: dV.bytes + segment.lowerBound * keyBytes)
            var keys: UnsafeRawPointer? = k.bytes + segment.lowerBound * keyBytes
            var values: UnsafeRawPointer? = v.bytes + segment.lowerBound * keyBytes
            withUnsafePointer(to: &keys) { keys in
                withUnsafePointer(to: &values) { values in
                    one.k_pages = keys
                    one.v_pages = values
                    kernels.attention_backward(&one, &gradient, kvHead, kvHead + 1, scratch)
                }
            }
        }
        return (dQ, dK, dV)
    }
}

extension moru_attention {
    /// Whether this is one row over a cache, which nobody wants to differentiate.
    fileprivate var isCachedRow: Bool { rows == 1 && io_type == MORU_F32 && log_sum_exp == nil }
}
