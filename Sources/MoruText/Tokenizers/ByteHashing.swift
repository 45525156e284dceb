/// Multiplier of the hash functions: 2^64 divided by the golden ratio, made odd.
private let multiplier: UInt64 = 0x9E37_79B9_7F4A_7C15

/// Hashes a span of bytes eight at a time; the upper bits are the good ones.
@inline(__always)
func spanHash(_ bytes: UnsafePointer<UInt8>, _ count: Int) -> UInt64 {
    let raw = UnsafeRawPointer(bytes)
    var hash = UInt64(truncatingIfNeeded: count) &* multiplier
    if count >= 8 {
        var offset = 0
        while offset + 8 < count {
            hash = (hash ^ raw.loadUnaligned(fromByteOffset: offset, as: UInt64.self)) &* multiplier
            hash ^= hash >> 29
            offset += 8
        }
        hash ^= raw.loadUnaligned(fromByteOffset: count - 8, as: UInt64.self)
    } else if count >= 4 {
        let low = UInt64(raw.loadUnaligned(as: UInt32.self))
        hash ^= low | UInt64(raw.loadUnaligned(fromByteOffset: count - 4, as: UInt32.self)) << 32
    } else if count > 0 {
        hash ^= UInt64(bytes[0]) | UInt64(bytes[count >> 1]) << 8 | UInt64(bytes[count - 1]) << 16
    }
    hash &*= multiplier
    hash ^= hash >> 32
    return hash &* multiplier
}

/// Whether two spans of `count` bytes are the same.
@inline(__always)
func spansEqual(_ left: UnsafePointer<UInt8>, _ right: UnsafePointer<UInt8>, _ count: Int) -> Bool {
    let a = UnsafeRawPointer(left)
    let b = UnsafeRawPointer(right)
    var offset = 0
    while offset + 8 <= count {
        if a.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
            != b.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
        {
            return false
        }
        offset += 8
    }
    while offset < count {
        if left[offset] != right[offset] { return false }
        offset += 1
    }
    return true
}

/// The smallest power of two that holds `count` entries at most half full.
func tableCapacity(for count: Int) -> Int {
    var capacity = 16
    while capacity < count * 2 { capacity *= 2 }
    return capacity
}

/// An open-addressing map from a pair of 32-bit numbers to a 64-bit value: merges of a BPE model, edges of a trie.
///
/// Unchecked: filled once, then only read, so that many threads may share it.
final class PairMap: @unchecked Sendable {
    /// What ``find(_:_:)`` returns for a pair that is not there; never a stored value.
    static let missing = UInt64.max
    /// No pair has this key: neither half may be `UInt32.max`.
    private static let emptyKey = UInt64.max

    private struct Entry {
        var key: UInt64
        var value: UInt64
    }

    private var entries: UnsafeMutablePointer<Entry>
    private var capacity: Int
    private var shift: UInt64
    private(set) var count = 0

    init(minimumCapacity: Int = 0) {
        capacity = tableCapacity(for: minimumCapacity)
        shift = UInt64(64 - capacity.trailingZeroBitCount)
        entries = Self.allocate(capacity)
    }

    deinit { entries.deallocate() }

    private static func allocate(_ capacity: Int) -> UnsafeMutablePointer<Entry> {
        let entries = UnsafeMutablePointer<Entry>.allocate(capacity: capacity)
        entries.initialize(repeating: Entry(key: emptyKey, value: missing), count: capacity)
        return entries
    }

    /// The value of a pair, or ``missing``.
    @inline(__always)
    func find(_ left: UInt32, _ right: UInt32) -> UInt64 {
        let key = UInt64(left) << 32 | UInt64(right)
        var slot = Int(truncatingIfNeeded: ((key ^ (key >> 29)) &* multiplier) >> shift)
        while true {
            let entry = entries[slot]
            if entry.key == key { return entry.value }
            if entry.key == Self.emptyKey { return Self.missing }
            slot = (slot + 1) & (capacity - 1)
        }
    }

    /// Sets the value of a pair; a later value replaces an earlier one.
    func insert(_ left: UInt32, _ right: UInt32, _ value: UInt64) {
        if (count + 1) * 2 > capacity { grow() }
        insert(key: UInt64(left) << 32 | UInt64(right), value)
    }

    private func insert(key: UInt64, _ value: UInt64) {
        var slot = Int(truncatingIfNeeded: ((key ^ (key >> 29)) &* multiplier) >> shift)
        while entries[slot].key != Self.emptyKey {
            if entries[slot].key == key {
                entries[slot].value = value
                return
            }
            slot = (slot + 1) & (capacity - 1)
        }
        entries[slot] = Entry(key: key, value: value)
        count += 1
    }

    private func grow() {
        let old = entries
        let oldCapacity = capacity
        capacity *= 2
        shift -= 1
        entries = Self.allocate(capacity)
        count = 0
        for slot in 0..<oldCapacity where old[slot].key != Self.emptyKey { insert(key: old[slot].key, old[slot].value) }
        old.deallocate()
    }
}

extension PairMap {
    /// Adds a path to a trie over bytes, whose edges this map holds as (node, byte) to node.
    ///
    /// - Parameters:
    ///   - bytes: The path, from node 0 on.
    ///   - ends: What ends at each node; grows by -1 for each new one.
    /// - Returns: The node at the end of the path.
    func insertPath(_ bytes: some Sequence<UInt8>, ends: inout [Int32]) -> Int {
        var node: UInt32 = 0
        for byte in bytes {
            let next = find(node, UInt32(byte))
            if next == Self.missing {
                insert(node, UInt32(byte), UInt64(ends.count))
                node = UInt32(ends.count)
                ends.append(-1)
            } else {
                node = UInt32(truncatingIfNeeded: next)
            }
        }
        return Int(node)
    }
}
