import CMoruKernels

/// Attention of single rows, each over the keys of its sequence, in pieces of a fixed size, so that a result does not
/// depend on who computes them.
///
/// Each thread takes an equal part of all keys, in the order in which they lie in memory, which bounds the work.
struct AttentionRows {
    /// Bytes of keys and values from which on they are worth sharing between the threads.
    private static let worthSharing = 1 << 15
    /// Bytes that a thread asks for ahead at most: what its own cache holds beside the rest.
    private static let aheadLimit = 1 << 19

    private struct Row {
        var arguments: moru_attention
        /// The pieces of keys that it sees.
        let pieces: Range<Int>
        /// Its share of all rows' work: a unit is one piece for the heads that share keys.
        let units: Range<Int>
        /// Where its pieces' outputs, and then the logarithms of their sums, lie among all rows'.
        let place: Int

        var outputs: Int { arguments.heads * arguments.head_dim }

        /// The heads of keys that some of its units read.
        func keyHeads(of units: Range<Int>) -> Range<Int> {
            let heads = arguments.kv_heads
            let first = (units.lowerBound - self.units.lowerBound) % heads
            return first + units.count <= heads ? first..<first + units.count : 0..<heads
        }

        /// The heads of which some of its units read the newest key: those of the last piece, each of which is one unit.
        func newestHeads(of units: Range<Int>) -> Range<Int> {
            let last = self.units.upperBound - arguments.kv_heads
            return max(0, units.lowerBound - last)..<max(0, units.upperBound - last)
        }
    }

    /// Prepares some units of a row before a thread computes them, and says where the row's queries are: its number, the
    /// heads of keys that are read, and those of which the newest key, which may still be missing, is read by no others.
    typealias Preparation = (_ row: Int, _ keyHeads: Range<Int>, _ newest: Range<Int>) -> UnsafeRawPointer?

    private let kernels: moru_row_attention
    private let quantize: @convention(c) (moru_dtype, UnsafePointer<Float>?, UnsafeMutableRawPointer?, Int) -> Void
    private let threadCount: Int
    private var rows = GrowingMemory<Row>()
    private var results = GrowingMemory<Float>()
    private var scratch = GrowingMemory<UInt8>()
    private(set) var count = 0
    private var unitCount = 0
    private var resultCount = 0
    private var byteCount = 0
    private var scratchBytes = 0

    /// No rows yet, for the backend's threads to share.
    init(_ backend: CPUBackend) {
        (kernels, quantize) = (backend.runtime.rowAttention, backend.kernels.quantize!)
        threadCount = backend.threads.threadCount
    }

    /// Gives the memory back.
    func deallocate() {
        rows.deallocate()
        results.deallocate()
        scratch.deallocate()
    }

    /// Forgets the rows, and keeps the memory for others.
    mutating func removeAll() { (count, unitCount, resultCount, byteCount, scratchBytes) = (0, 0, 0, 0, 0) }

    /// Appends a row.
    mutating func append(_ arguments: moru_attention) {
        var arguments = arguments
        var (first, last) = (0, 0)
        moru_attention_pieces(&arguments, &first, &last)
        rows.reserve(count + 1)
        let units = unitCount..<unitCount + (last - first) * arguments.kv_heads
        rows.base[count] = Row(arguments: arguments, pieces: first..<last, units: units, place: resultCount)
        count += 1
        unitCount = units.upperBound
        resultCount += (last - first) * arguments.heads * (arguments.head_dim + 1)
        let type = arguments.kv_type
        byteCount +=
            2 * arguments.kv_count * arguments.kv_row_stride / moru_block_elements(type) * moru_block_bytes(type)
        scratchBytes = max(scratchBytes, (kernels.scratch_bytes(&arguments) + 63) & ~63)
        results.reserve(resultCount)
        scratch.reserve(scratchBytes * threadCount)
    }

    /// The parts into which the work is worth being split.
    var parts: Int { byteCount < Self.worthSharing ? 1 : max(1, min(threadCount, unitCount)) }

    /// Asks for the keys and values that a part begins with, before it is computed.
    func prefetch(_ part: Int, of parts: Int) {
        let range = unitCount * part / parts..<unitCount * (part + 1) / parts
        var left = Self.aheadLimit
        for index in 0..<count {
            let row = rows.base[index]
            let own = range.clamped(to: row.units)
            guard !own.isEmpty else { continue }
            let (kvHeads, first) = (row.arguments.kv_heads, row.units.lowerBound)
            let pieces = (own.lowerBound - first) / kvHeads..<(own.upperBound - first + kvHeads - 1) / kvHeads
            for piece in pieces where left > 0 { left -= prefetch(row.arguments, piece: row.pieces.lowerBound + piece) }
        }
    }

    /// Asks for a piece's keys and values, and says how many bytes they are.
    private func prefetch(_ row: moru_attention, piece: Int) -> Int {
        let rowBytes = row.kv_row_stride / moru_block_elements(row.kv_type) * moru_block_bytes(row.kv_type)
        let pieceKeys = Int(MORU_PIECE_KEYS)
        let end = min(row.kv_count, (piece + 1) * pieceKeys)
        var (key, bytes) = (piece * pieceKeys, 0)
        while key < end {
            let (page, slot) = key.quotientAndRemainder(dividingBy: row.page_tokens)
            let count = min(end - key, row.page_tokens - slot)
            for pages in [row.k_pages, row.v_pages] {
                if let start = pages?[page] { moru_prefetch(start + slot * rowBytes, count * rowBytes) }
            }
            key += count
            bytes += 2 * count * rowBytes
        }
        return bytes
    }

    /// Computes a part.
    ///
    /// - Parameter thread: Below the number of threads, and that of no other part being computed.
    func compute(_ part: Int, of parts: Int, thread: Int) {
        compute(part, of: parts, thread: thread) { row, _, _ in rows.base[row].arguments.q }
    }

    /// Computes a part of rows that are not prepared yet.
    func compute(_ part: Int, of parts: Int, thread: Int, prepare: Preparation) {
        let range = unitCount * part / parts..<unitCount * (part + 1) / parts
        for index in 0..<count {
            var row = rows.base[index]
            let own = range.clamped(to: row.units)
            guard !own.isEmpty else { continue }
            row.arguments.q = prepare(index, row.keyHeads(of: own), row.newestHeads(of: own))
            compute(row, own, scratch.base + thread * scratchBytes)
        }
    }

    /// Writes the newest keys and values of some heads of a row, [heads, head_dim].
    func store(_ k: UnsafePointer<Float>, _ v: UnsafePointer<Float>, _ row: Int, _ heads: Range<Int>) {
        let arguments = rows.base[row].arguments
        let (page, slot) = arguments.first_position.quotientAndRemainder(dividingBy: arguments.page_tokens)
        let (type, headDim) = (arguments.kv_type, arguments.head_dim)
        let first = slot * arguments.kv_row_stride + heads.lowerBound * headDim
        let place = first / moru_block_elements(type) * moru_block_bytes(type)
        func store(_ values: UnsafePointer<Float>, _ pages: UnsafePointer<UnsafeRawPointer?>?) {
            guard let base = pages?[page] else { return }
            quantize(type, values, UnsafeMutableRawPointer(mutating: base) + place, heads.count * headDim)
        }
        store(k, arguments.k_pages)
        store(v, arguments.v_pages)
    }

    /// Computes some units of a row: the rest of a piece, whole pieces, and the beginning of another.
    private func compute(_ row: Row, _ units: Range<Int>, _ scratch: UnsafeMutablePointer<UInt8>) {
        var arguments = row.arguments
        let (kvHeads, share) = (arguments.kv_heads, arguments.heads / arguments.kv_heads)
        let outputs = results.base + row.place
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

    /// Joins the pieces of a row, when all parts are computed, and writes them to `out`, or to where the arguments say.
    func join(_ row: Int, to out: UnsafeMutablePointer<Float>? = nil) {
        let row = rows.base[row]
        var arguments = row.arguments
        if let out { arguments.out = UnsafeMutableRawPointer(out) }
        let (outputs, pieces) = (results.base + row.place, row.pieces.count)
        moru_attention_join(&arguments, pieces, outputs, outputs + pieces * row.outputs, 0, arguments.heads)
    }
}

extension CPUBackend {
    /// Computes the attention of single rows.
    func runSingleRows(_ all: [moru_attention]) {
        var rows = AttentionRows(self)
        defer { rows.deallocate() }
        for one in all { rows.append(one) }
        let parts = rows.parts
        threads.run(parts) { [rows] in rows.compute($0, of: parts, thread: $0) }
        for row in 0..<rows.count { rows.join(row) }
    }
}
