import Foundation

/// A range of addresses in which large blocks lie wherever there is a hole for them: what a block leaves behind joins the
/// holes beside it, and serves blocks of any size.
///
/// Addresses are only reserved at first. Memory that a block has touched stays with the process until it is given back.
struct MemoryRegion {
    /// Blocks begin and end at multiples of this.
    static let unit = 1 << 14
    /// Memory is counted and given back in pieces of this size: large pages.
    static let pieceBytes = 2 << 20
    /// Blocks below this size go where they leave the least over, so that they break up no large hole; the others go as
    /// far down as they can, which keeps the holes above together.
    private static let mediumBytes = 1 << 20
    /// How much is made writable at a time.
    private static let writableStep = 64 << 20
    /// Addresses that are reserved where the system allows it.
    private static let usualBytes = 64 << 30

    let base: UnsafeMutableRawPointer
    private let reservation: UnsafeMutableRawBufferPointer
    /// What no block takes, in the order of addresses, counted from the base.
    private(set) var holes: [Range<Int>]
    private var writableBytes = 0
    /// Whether a piece may be in memory; pieces beyond the end are not.
    private var touched: [Bool] = []
    /// Bytes of the pieces that may be in memory.
    private(set) var touchedBytes = 0

    /// Reserves addresses for at least so many bytes; nil where the system refuses.
    init?(holding byteCount: Int) {
        let least = Self.rounded(byteCount, Self.pieceBytes)
        var wanted = max(least, Self.usualBytes)
        while true {
            let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE
            let start = mmap(nil, wanted + Self.pieceBytes, PROT_NONE, flags, -1, 0)
            if let start, start != MAP_FAILED {
                reservation = UnsafeMutableRawBufferPointer(start: start, count: wanted + Self.pieceBytes)
                break
            }
            // A limit on addresses: what is left of them serves other purposes too
            guard wanted > least else { return nil }
            wanted = max(least, Self.rounded(wanted / 2, Self.pieceBytes))
        }
        guard let start = reservation.baseAddress else { return nil }
        let skipped = Self.rounded(Int(bitPattern: start), Self.pieceBytes) - Int(bitPattern: start)
        base = start + skipped
        holes = [0..<wanted]
        madvise(base, wanted, 14)  // MADV_HUGEPAGE: fewer faults and TLB misses; a refusal does no harm
    }

    /// Gives the addresses back; no block may be in use.
    func unmap() { munmap(reservation.baseAddress, reservation.count) }

    static func rounded(_ byteCount: Int, _ unit: Int) -> Int { (byteCount + unit - 1) / unit * unit }

    /// Whether a block of this address is in the region.
    func contains(_ block: UInt) -> Bool {
        let start = UInt(bitPattern: reservation.baseAddress)
        return start <= block && block < start + UInt(reservation.count)
    }

    /// The address of a block of a multiple of ``unit`` bytes; nil where no hole holds it, or the system has no memory
    /// for it.
    mutating func allocate(_ byteCount: Int) -> UInt? {
        guard let index = hole(for: byteCount) else { return nil }
        let (begin, end) = (holes[index].lowerBound, holes[index].lowerBound + byteCount)
        guard makeWritable(upTo: end) else { return nil }
        if holes[index].upperBound == end {
            holes.remove(at: index)
        } else {
            holes[index] = end..<holes[index].upperBound
        }
        let pieces = begin / Self.pieceBytes..<(end + Self.pieceBytes - 1) / Self.pieceBytes
        if touched.count < pieces.upperBound {
            touched += Array(repeating: false, count: pieces.upperBound - touched.count)
        }
        for piece in pieces where !touched[piece] {
            touched[piece] = true
            touchedBytes += Self.pieceBytes
        }
        return UInt(bitPattern: base + begin)
    }

    private func hole(for byteCount: Int) -> Int? {
        guard byteCount < Self.mediumBytes else { return holes.firstIndex { $0.count >= byteCount } }
        var best: Int?
        for (index, hole) in holes.enumerated() where hole.count >= byteCount {
            if hole.count == byteCount { return index }
            if best.map({ hole.count < holes[$0].count }) ?? true { best = index }
        }
        return best
    }

    private mutating func makeWritable(upTo end: Int) -> Bool {
        guard end > writableBytes else { return true }
        let next = min(holes.last?.upperBound ?? end, Self.rounded(end, Self.writableStep))
        guard mprotect(base + writableBytes, max(end, next) - writableBytes, PROT_READ | PROT_WRITE) == 0 else {
            return false
        }
        writableBytes = max(end, next)
        return true
    }

    /// Takes a block back that ``allocate(_:)`` gave.
    mutating func release(_ block: UInt, byteCount: Int) {
        var begin = Int(block - UInt(bitPattern: base))
        var end = begin + byteCount
        // The first hole behind the block
        var (low, high) = (0, holes.count)
        while low < high {
            let middle = (low + high) / 2
            if holes[middle].lowerBound < begin { low = middle + 1 } else { high = middle }
        }
        if low < holes.count, holes[low].lowerBound == end { end = holes.remove(at: low).upperBound }
        if low > 0, holes[low - 1].upperBound == begin {
            begin = holes[low - 1].lowerBound
            holes[low - 1] = begin..<end
        } else {
            holes.insert(begin..<end, at: low)
        }
    }

    /// Gives memory of holes back to the system, the last first, until at least so many bytes are given or none is left.
    mutating func giveBack(_ byteCount: Int) {
        let least = touchedBytes - byteCount
        for hole in holes.reversed() {
            let first = (hole.lowerBound + Self.pieceBytes - 1) / Self.pieceBytes
            var end = min(hole.upperBound / Self.pieceBytes, touched.count)
            while end > first, touchedBytes > least {
                var begin = end
                while begin > first, touched[begin - 1], touchedBytes > least {
                    begin -= 1
                    touched[begin] = false
                    touchedBytes -= Self.pieceBytes
                }
                if begin < end {
                    madvise(base + begin * Self.pieceBytes, (end - begin) * Self.pieceBytes, Int32(MADV_DONTNEED))
                    end = begin
                } else {
                    end -= 1
                }
            }
            if touchedBytes <= least { return }
        }
    }
}
