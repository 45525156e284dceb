/// The ids of words met before: most words of a text are repetitions. Full, it starts afresh, so it stays small.
final class WordCache {
    /// Longer words are rare and not worth their room.
    static let maximumLength = 48
    private static let slotCount = 1 << 15
    private static let maximumEntries = slotCount * 5 / 8

    private struct Slot {
        var hash: UInt64 = 0
        var keyStart: UInt32 = 0
        var idStart: UInt32 = 0
        /// Zero in a slot that is free: no word is empty.
        var keyCount: UInt16 = 0
        var idCount: UInt16 = 0
    }

    private let slots: UnsafeMutablePointer<Slot>
    private var entries = 0
    private let keys: UnsafeMutablePointer<UInt8>
    private var keyCount = 0
    private let ids = UnsafeMutablePointer<Int32>.allocate(capacity: idCapacity)
    private var idCount = 0

    private static let keyCapacity = maximumEntries * 24
    private static let idCapacity = maximumEntries * 8

    init() {
        slots = .allocate(capacity: Self.slotCount)
        slots.initialize(repeating: Slot(), count: Self.slotCount)
        keys = .allocate(capacity: Self.keyCapacity)
    }

    deinit {
        slots.deallocate()
        keys.deallocate()
        ids.deallocate()
    }

    /// Appends the ids of a known word to `output`.
    ///
    /// - Returns: Whether the word was known.
    @inline(__always)
    func find(_ bytes: UnsafePointer<UInt8>, _ count: Int, _ hash: UInt64, _ output: IDBuffer) -> Bool {
        var slot = Int(truncatingIfNeeded: hash >> 40) & (Self.slotCount - 1)
        while slots[slot].keyCount != 0 {
            let entry = slots[slot]
            if entry.hash == hash, Int(entry.keyCount) == count, spansEqual(keys + Int(entry.keyStart), bytes, count) {
                output.append(UnsafePointer(ids + Int(entry.idStart)), Int(entry.idCount))
                return true
            }
            slot = (slot + 1) & (Self.slotCount - 1)
        }
        return false
    }

    /// Remembers a word that ``find(_:_:_:_:)`` did not know.
    func insert(
        _ bytes: UnsafePointer<UInt8>, _ count: Int, _ hash: UInt64, _ wordIDs: UnsafePointer<Int32>, _ number: Int
    ) {
        if count == 0 || number > Int(UInt16.max) { return }
        if entries >= Self.maximumEntries || keyCount + count > Self.keyCapacity || idCount + number > Self.idCapacity {
            slots.update(repeating: Slot(), count: Self.slotCount)
            (entries, keyCount, idCount) = (0, 0, 0)
        }
        var slot = Int(truncatingIfNeeded: hash >> 40) & (Self.slotCount - 1)
        while slots[slot].keyCount != 0 { slot = (slot + 1) & (Self.slotCount - 1) }
        (keys + keyCount).update(from: bytes, count: count)
        (ids + idCount).update(from: wordIDs, count: number)
        slots[slot] = Slot(
            hash: hash, keyStart: UInt32(keyCount), idStart: UInt32(idCount), keyCount: UInt16(count),
            idCount: UInt16(number))
        keyCount += count
        idCount += number
        entries += 1
    }
}
