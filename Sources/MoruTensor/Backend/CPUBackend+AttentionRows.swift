import CMoruKernels

extension CPUBackend {
    /// Bytes of keys and values from which on they are worth sharing between the threads.
    private static let worthSharing = 1 << 15

    /// One row's attention, its keys in pieces of a fixed size, so that the result does not depend on who computes them.
    private struct Row {
        var arguments: moru_attention
        /// The pieces of keys that it sees.
        var pieces: Range<Int>
        /// Its share of all rows' work: a unit is one piece for the heads that share keys.
        var units: Range<Int>
        /// Where its pieces' outputs, and then the logarithms of their sums, lie among all rows'.
        var place: Int

        var outputs: Int { arguments.heads * arguments.head_dim }
    }

    /// Computes the attention of single rows. Each thread takes an equal part of all keys, in the order in which they lie
    /// in memory, which bounds the work.
    func runSingleRows(_ all: [moru_attention]) {
        let kernels = moru_row_attention_for(kernels.level)!.pointee
        var rows: [Row] = []
        rows.reserveCapacity(all.count)
        var (units, floats, bytes, scratchBytes) = (0, 0, 0, 1)
        for one in all {
            var arguments = one
            var (first, last) = (0, 0)
            moru_attention_pieces(&arguments, &first, &last)
            let count = (last - first) * one.kv_heads
            rows.append(Row(arguments: one, pieces: first..<last, units: units..<units + count, place: floats))
            units += count
            floats += (last - first) * one.heads * (one.head_dim + 1)
            let type = one.kv_type
            bytes += 2 * one.kv_count * one.kv_row_stride / moru_block_elements(type) * moru_block_bytes(type)
            scratchBytes = max(scratchBytes, (kernels.scratch_bytes(&arguments) + 63) & ~63)
        }
        let parts = bytes < Self.worthSharing ? 1 : max(1, min(threads.threadCount, units))
        let resultBytes = (floats * MemoryLayout<Float>.size + 63) & ~63
        withScratch(resultBytes + parts * scratchBytes) { scratch in
            let results = scratch.assumingMemoryBound(to: Float.self)
            rows.withUnsafeBufferPointer { rows in
                threads.run(parts) { part in
                    let range = units * part / parts..<units * (part + 1) / parts
                    let own = scratch + resultBytes + part * scratchBytes
                    for row in rows { compute(row, range.clamped(to: row.units), kernels, results, own) }
                }
                for row in rows {
                    var arguments = row.arguments
                    let (outputs, count) = (results + row.place, row.pieces.count)
                    moru_attention_join(
                        &arguments, count, outputs, outputs + count * row.outputs, 0, arguments.heads)
                }
            }
        }
    }

    /// Computes some units of a row: the rest of a piece, whole pieces, and the beginning of another.
    private func compute(
        _ row: Row, _ units: Range<Int>, _ kernels: moru_row_attention, _ results: UnsafeMutablePointer<Float>,
        _ scratch: UnsafeMutableRawPointer
    ) {
        var arguments = row.arguments
        let (kvHeads, share) = (arguments.kv_heads, arguments.heads / arguments.kv_heads)
        let outputs = results + row.place
        let sums = outputs + row.pieces.count * row.outputs
        var next = units.lowerBound - row.units.lowerBound
        let end = units.upperBound - row.units.lowerBound
        while next < end {
            let (piece, head) = next.quotientAndRemainder(dividingBy: kvHeads)
            let whole = head == 0 ? (end - next) / kvHeads : 0
            let heads = whole > 0 ? 0..<kvHeads : head..<min(kvHeads, head + end - next)
            let first = row.pieces.lowerBound + piece
            kernels.pieces(
                &arguments, first, first + max(1, whole), heads.lowerBound * share, heads.upperBound * share,
                outputs + piece * row.outputs, sums + piece * arguments.heads, scratch)
            next += max(1, whole) * heads.count
        }
    }
}
