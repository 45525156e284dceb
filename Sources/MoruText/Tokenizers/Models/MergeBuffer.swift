/// The symbols of one word while they merge. Reused from word to word, so that a word costs no allocation.
///
/// Short words look through all pairs for the best; long ones (models without pre-tokenizer see the whole text as
/// one word) keep a heap, so that the time stays `n log n`.
final class MergeBuffer {
    private static let scanLimit = 40

    private var capacity = 0
    private var symbols: UnsafeMutablePointer<UInt32>
    /// The merge of each symbol with the next: `rank << 32 | id`, or ``PairMap/missing``.
    private var pairs: UnsafeMutablePointer<UInt64>
    private var count = 0

    private var next: [Int32] = []
    private var previous: [Int32] = []
    private var heap: [UInt64] = []

    init() {
        capacity = 64
        symbols = .allocate(capacity: capacity)
        pairs = .allocate(capacity: capacity)
    }

    deinit {
        symbols.deallocate()
        pairs.deallocate()
    }

    /// Empties the buffer and makes room for so many symbols.
    func reset(capacity wanted: Int) {
        count = 0
        if wanted <= capacity { return }
        symbols.deallocate()
        pairs.deallocate()
        capacity = wanted + wanted / 2
        symbols = .allocate(capacity: capacity)
        pairs = .allocate(capacity: capacity)
    }

    /// Adds a symbol; no more may be added than ``reset(capacity:)`` made room for.
    @inline(__always)
    func append(_ id: Int32) {
        assert(count < capacity)
        symbols[count] = UInt32(bitPattern: id)
        count += 1
    }

    func write(to output: IDBuffer) {
        output.append(UnsafeRawPointer(symbols).assumingMemoryBound(to: Int32.self), count)
    }

    func merge(_ merges: PairMap) {
        if count < 2 { return }
        for index in 0..<count - 1 { pairs[index] = merges.find(symbols[index], symbols[index + 1]) }
        pairs[count - 1] = PairMap.missing
        if count <= Self.scanLimit { mergeByScanning(merges) } else { mergeByHeap(merges) }
    }

    /// Takes the leftmost pair of lowest rank, again and again.
    private func mergeByScanning(_ merges: PairMap) {
        var count = count
        let symbols = symbols
        let pairs = pairs
        while count > 1 {
            var best = pairs[0] >> 32
            var index = 0
            for candidate in 1..<count - 1 where pairs[candidate] >> 32 < best {
                best = pairs[candidate] >> 32
                index = candidate
            }
            if pairs[index] == PairMap.missing { break }
            symbols[index] = UInt32(truncatingIfNeeded: pairs[index])
            count -= 1
            var moved = index + 1
            while moved < count {
                symbols[moved] = symbols[moved + 1]
                pairs[moved] = pairs[moved + 1]
                moved += 1
            }
            if index > 0 { pairs[index - 1] = merges.find(symbols[index - 1], symbols[index]) }
            pairs[index] = index + 1 < count ? merges.find(symbols[index], symbols[index + 1]) : PairMap.missing
        }
        self.count = count
    }

    /// The same with a heap of `rank << 32 | position` over a linked list; an entry whose pair has changed is stale.
    private func mergeByHeap(_ merges: PairMap) {
        next = (0..<Int32(count)).map { $0 + 1 }
        previous = (0..<Int32(count)).map { $0 - 1 }
        heap.removeAll(keepingCapacity: true)
        let end = Int32(count)
        for index in 0..<count - 1 where pairs[index] != PairMap.missing { push(index) }
        while let entry = pop() {
            let index = Int(entry & 0xFFFF_FFFF)
            guard pairs[index] != PairMap.missing, pairs[index] >> 32 == entry >> 32 else { continue }
            let right = next[index]
            symbols[index] = UInt32(truncatingIfNeeded: pairs[index])
            pairs[Int(right)] = PairMap.missing
            let following = next[Int(right)]
            next[index] = following
            if following < end {
                previous[Int(following)] = Int32(index)
                pairs[index] = merges.find(symbols[index], symbols[Int(following)])
                if pairs[index] != PairMap.missing { push(index) }
            } else {
                pairs[index] = PairMap.missing
            }
            let before = Int(previous[index])
            if before >= 0 {
                pairs[before] = merges.find(symbols[before], symbols[index])
                if pairs[before] != PairMap.missing { push(before) }
            }
        }
        var kept = 0
        var index: Int32 = 0
        while index < end {
            symbols[kept] = symbols[Int(index)]
            kept += 1
            index = next[Int(index)]
        }
        count = kept
    }

    private func push(_ index: Int) {
        var child = heap.count
        let entry = pairs[index] & 0xFFFF_FFFF_0000_0000 | UInt64(index)
        heap.append(entry)
        while child > 0 {
            let parent = (child - 1) / 2
            if heap[parent] <= entry { break }
            heap[child] = heap[parent]
            child = parent
        }
        heap[child] = entry
    }

    private func pop() -> UInt64? {
        guard let top = heap.first, let last = heap.popLast() else { return nil }
        if heap.isEmpty { return top }
        var parent = 0
        while true {
            var child = parent * 2 + 1
            if child >= heap.count { break }
            if child + 1 < heap.count, heap[child + 1] < heap[child] { child += 1 }
            if heap[child] >= last { break }
            heap[parent] = heap[child]
            parent = child
        }
        heap[parent] = last
        return top
    }
}

/// A growing buffer of ids that is appended to from hot loops.
final class IDBuffer {
    private var capacity = 256
    private(set) var base: UnsafeMutablePointer<Int32>
    private(set) var count = 0

    init() { base = .allocate(capacity: capacity) }

    deinit { base.deallocate() }

    @inline(__always)
    func append(_ id: Int32) {
        if count == capacity { grow(by: 1) }
        base[count] = id
        count += 1
    }

    @inline(__always)
    func append(_ ids: UnsafePointer<Int32>, _ number: Int) {
        if count + number > capacity { grow(by: number) }
        (base + count).update(from: ids, count: number)
        count += number
    }

    func removeAll() { count = 0 }

    private func grow(by number: Int) {
        let grown = UnsafeMutablePointer<Int32>.allocate(capacity: (capacity + number) * 2)
        grown.update(from: base, count: count)
        base.deallocate()
        base = grown
        capacity = (capacity + number) * 2
    }
}
