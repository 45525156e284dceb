import CMoruKernels

/// Pieces of memory that are read soon, and asked for while something else is computed.
struct MemoryAhead {
    /// Bytes that are asked for at most: more would drive each other out of the cache.
    private static let limit = 1 << 19

    private var pieces = GrowingMemory<UnsafeRawBufferPointer>()
    private var count = 0
    private var byteCount = 0

    var isEmpty: Bool { count == 0 }

    /// Gives the memory of the list back.
    func deallocate() { pieces.deallocate() }

    /// Forgets the pieces.
    mutating func removeAll() { (count, byteCount) = (0, 0) }

    /// Adds a piece, unless it is there already or would be too much.
    mutating func append(_ piece: UnsafeRawBufferPointer) {
        guard byteCount + piece.count <= Self.limit,
            !(0..<count).contains(where: { pieces.base[$0].baseAddress == piece.baseAddress })
        else { return }
        pieces.reserve(count + 1)
        pieces.base[count] = piece
        count += 1
        byteCount += piece.count
    }

    /// Asks for a share of the bytes: parts of a whole.
    func prefetch(_ parts: Range<Int>, of whole: Int) {
        let range = byteCount * parts.lowerBound / whole..<byteCount * parts.upperBound / whole
        var start = 0
        for index in 0..<count {
            let piece = pieces.base[index]
            let own = range.clamped(to: start..<start + piece.count)
            if !own.isEmpty, let base = piece.baseAddress { moru_prefetch(base + (own.lowerBound - start), own.count) }
            start += piece.count
        }
    }
}
