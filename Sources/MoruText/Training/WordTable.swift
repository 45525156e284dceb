/// Counts byte strings: an open-addressing table over one growing arena.
///
/// Unchecked: ``WordCounter`` gives each table to one thread at a time.
final class WordTable: @unchecked Sendable {
    private struct Entry {
        var hash: UInt64
        var offset: Int
        var length: Int
        var count: Int
    }

    private var entries: [Entry] = []
    /// Numbers of entries by hash, or -1.
    private var slots: [Int32]
    private var arena: UnsafeMutablePointer<UInt8>
    private var used = 0
    private var capacity = 1 << 16

    init() {
        slots = Array(repeating: -1, count: 1 << 12)
        arena = .allocate(capacity: capacity)
    }

    deinit { arena.deallocate() }

    /// Different strings.
    var count: Int { entries.count }
    /// Bytes of the different strings.
    var byteCount: Int { used }

    /// Counts a string some times more.
    func add(_ bytes: UnsafePointer<UInt8>, _ length: Int, times: Int = 1) {
        let hash = spanHash(bytes, length)
        var slot = Int(truncatingIfNeeded: hash >> 20) & (slots.count - 1)
        while slots[slot] >= 0 {
            let number = Int(slots[slot])
            if entries[number].hash == hash, entries[number].length == length,
                spansEqual(arena + entries[number].offset, bytes, length)
            {
                entries[number].count += times
                return
            }
            slot = (slot + 1) & (slots.count - 1)
        }
        append(bytes, length)
        slots[slot] = Int32(entries.count)
        entries.append(Entry(hash: hash, offset: used - length, length: length, count: times))
        if entries.count * 2 > slots.count { rebuildSlots(slots.count * 4) }
    }

    private func append(_ bytes: UnsafePointer<UInt8>, _ length: Int) {
        if used + length > capacity {
            capacity = max(capacity * 2, used + length)
            let larger = UnsafeMutablePointer<UInt8>.allocate(capacity: capacity)
            larger.update(from: arena, count: used)
            arena.deallocate()
            arena = larger
        }
        (arena + used).update(from: bytes, count: length)
        used += length
    }

    private func rebuildSlots(_ size: Int) {
        slots = Array(repeating: -1, count: size)
        for (number, entry) in entries.enumerated() {
            var slot = Int(truncatingIfNeeded: entry.hash >> 20) & (size - 1)
            while slots[slot] >= 0 { slot = (slot + 1) & (size - 1) }
            slots[slot] = Int32(number)
        }
    }

    /// Calls `body` with each string and its count, in the order in which they came.
    func visit(_ body: (UnsafePointer<UInt8>, _ length: Int, _ count: Int) -> Void) {
        for entry in entries { body(UnsafePointer(arena) + entry.offset, entry.length, entry.count) }
    }

    /// Forgets the strings that came fewer than `minimum` times.
    func prune(below minimum: Int) {
        let kept = entries.filter { $0.count >= minimum }
        let (old, oldUsed) = (arena, used)
        (entries, used, capacity) = ([], 0, max(1 << 16, oldUsed / 2))
        arena = .allocate(capacity: capacity)
        slots = Array(repeating: -1, count: 1 << 12)
        for entry in kept { add(old + entry.offset, entry.length, times: entry.count) }
        old.deallocate()
    }

    /// The most frequent strings first, equal ones by their bytes, so that the order does not depend on how they came.
    func sorted() -> WordList {
        let order = entries.indices.sorted { a, b in
            let (left, right) = (entries[a], entries[b])
            if left.count != right.count { return left.count > right.count }
            let shared = min(left.length, right.length)
            for index in 0..<shared where arena[left.offset + index] != arena[right.offset + index] {
                return arena[left.offset + index] < arena[right.offset + index]
            }
            return left.length < right.length
        }
        var list = WordList()
        list.bytes.reserveCapacity(used)
        for number in order {
            let entry = entries[number]
            list.bytes.append(contentsOf: UnsafeBufferPointer(start: arena + entry.offset, count: entry.length))
            list.ends.append(list.bytes.count)
            list.counts.append(entry.count)
        }
        return list
    }
}

/// Words one after the other, with how often each occurs.
struct WordList: Sendable {
    var bytes: [UInt8] = []
    /// Where each word ends in ``bytes``.
    var ends: [Int] = []
    var counts: [Int] = []

    var count: Int { counts.count }

    /// Where a word lies in ``bytes``.
    func range(_ word: Int) -> Range<Int> { (word == 0 ? 0 : ends[word - 1])..<ends[word] }
}
