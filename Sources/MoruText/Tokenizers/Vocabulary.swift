import MoruBase

/// The pieces of a vocabulary by id and ids by piece: one arena of bytes and an open-addressing table over it.
///
/// Unchecked: filled once, then only read, so that many threads may share it. Pieces are compared byte by byte: two that
/// are canonically equivalent in Unicode are still two.
final class Vocabulary: @unchecked Sendable {
    /// The largest id taken from a file; real vocabularies stay below a tenth of it.
    static let maximumID = 1 << 22

    private var arena: [UInt8] = []
    private var spans: [(start: Int32, count: Int32)] = []
    private var slots: UnsafeMutablePointer<UInt64>
    private var capacity: Int
    private var entryCount = 0

    /// The highest id + 1.
    var size: Int { spans.count }

    init(minimumCapacity: Int, averageLength: Int = 8) {
        capacity = tableCapacity(for: minimumCapacity)
        slots = .allocate(capacity: capacity)
        slots.initialize(repeating: 0, count: capacity)
        arena.reserveCapacity(minimumCapacity * averageLength)
        spans.reserveCapacity(minimumCapacity)
    }

    deinit { slots.deallocate() }

    /// Whether `id` has a piece.
    func contains(id: Int) -> Bool { id >= 0 && id < spans.count && spans[id].start >= 0 }

    /// The bytes of an id's piece; empty when the id has none.
    func bytes(of id: Int) -> ArraySlice<UInt8> {
        guard contains(id: id) else { return [] }
        let span = spans[id]
        return arena[Int(span.start)..<Int(span.start) + Int(span.count)]
    }

    /// The id of a piece, or -1.
    @inline(__always)
    func find(_ bytes: UnsafePointer<UInt8>, _ count: Int) -> Int32 {
        let hash = spanHash(bytes, count)
        let tag = hash & 0xFFFF_FFFF_0000_0000
        var slot = Int(truncatingIfNeeded: hash) & (capacity - 1)
        return arena.withUnsafeBufferPointer { arena in
            while slots[slot] != 0 {
                if slots[slot] & 0xFFFF_FFFF_0000_0000 == tag {
                    let id = Int(slots[slot] & 0xFFFF_FFFF) - 1
                    let span = spans[id]
                    if Int(span.count) == count {
                        if count == 0 { return Int32(id) }
                        if let base = arena.baseAddress, spansEqual(base + Int(span.start), bytes, count) {
                            return Int32(id)
                        }
                    }
                }
                slot = (slot + 1) & (capacity - 1)
            }
            return -1
        }
    }

    /// The id of a piece, or -1.
    func find(_ piece: String) -> Int32 {
        var piece = piece
        return piece.withUTF8 { find($0) }
    }

    /// The id of a piece, or -1.
    func find(_ bytes: UnsafeBufferPointer<UInt8>) -> Int32 {
        guard let base = bytes.baseAddress else { return withUnsafePointer(to: UInt8(0)) { find($0, 0) } }
        return find(base, bytes.count)
    }

    /// Gives a piece an id.
    ///
    /// - Returns: Whether the id was free; when it was not, nothing changes. A piece that already has an id keeps
    ///   it as the answer of ``find(_:)`` unless `replacing`.
    @discardableResult
    func insert(_ bytes: UnsafeBufferPointer<UInt8>, id: Int, replacing: Bool = false) -> Bool {
        guard id >= 0, id <= Self.maximumID, !contains(id: id), arena.count + bytes.count <= Int32.max else {
            return false
        }
        while spans.count <= id { spans.append((-1, 0)) }
        spans[id] = (Int32(arena.count), Int32(bytes.count))
        arena.append(contentsOf: bytes)
        if (entryCount + 1) * 2 > capacity { grow() }
        let known = find(bytes)
        if known < 0 {
            link(id)
        } else if replacing {
            relink(known: Int(known), id)
        }
        return true
    }

    /// Gives a piece an id; see the other overload.
    @discardableResult
    func insert(_ piece: String, id: Int, replacing: Bool = false) -> Bool {
        var piece = piece
        return piece.withUTF8 { insert($0, id: id, replacing: replacing) }
    }

    private func hash(of id: Int) -> UInt64 {
        let span = spans[id]
        return arena.withUnsafeBufferPointer { buffer in
            guard let base = buffer.baseAddress else { return withUnsafePointer(to: UInt8(0)) { spanHash($0, 0) } }
            return spanHash(base + Int(span.start), Int(span.count))
        }
    }

    private func link(_ id: Int) {
        let hash = hash(of: id)
        var slot = Int(truncatingIfNeeded: hash) & (capacity - 1)
        while slots[slot] != 0 { slot = (slot + 1) & (capacity - 1) }
        slots[slot] = hash & 0xFFFF_FFFF_0000_0000 | UInt64(id + 1)
        entryCount += 1
    }

    private func relink(known: Int, _ id: Int) {
        let hash = hash(of: known)
        var slot = Int(truncatingIfNeeded: hash) & (capacity - 1)
        while slots[slot] & 0xFFFF_FFFF != UInt64(known + 1) { slot = (slot + 1) & (capacity - 1) }
        slots[slot] = hash & 0xFFFF_FFFF_0000_0000 | UInt64(id + 1)
    }

    private func grow() {
        let old = slots
        let oldCapacity = capacity
        capacity *= 2
        slots = .allocate(capacity: capacity)
        slots.initialize(repeating: 0, count: capacity)
        entryCount = 0
        for slot in 0..<oldCapacity where old[slot] != 0 { link(Int(old[slot] & 0xFFFF_FFFF) - 1) }
        old.deallocate()
    }
}
