/// How often pairs of symbols stand beside each other, and in which words: an open-addressing table.
struct PairCounts {
    private static let empty = UInt64.max

    private var keys: [UInt64]
    private var numbers: [Int32]
    private var used = 0
    /// By the number of a pair: the pair, how often it occurs, the newest of its places, the round it last grew in.
    private(set) var pairs: [UInt64] = []
    private var counts: [Int] = []
    private var newest: [Int32] = []
    private var rounds: [Int32] = []
    /// Places: a word, and the place before it in the same pair's list.
    private var placeWords: [Int32] = []
    private var placesBefore: [Int32] = []

    init() {
        keys = Array(repeating: Self.empty, count: 1 << 16)
        numbers = Array(repeating: -1, count: 1 << 16)
    }

    static func pair(_ left: Int32, _ right: Int32) -> UInt64 {
        UInt64(UInt32(bitPattern: left)) << 32 | UInt64(UInt32(bitPattern: right))
    }

    /// How often a pair occurs now.
    subscript(_ pair: UInt64) -> Int {
        let slot = self.slot(pair)
        return keys[slot] == Self.empty ? 0 : counts[Int(numbers[slot])]
    }

    @inline(__always)
    private func slot(_ pair: UInt64) -> Int {
        var slot = Int(truncatingIfNeeded: ((pair ^ (pair >> 29)) &* 0x9E37_79B9_7F4A_7C15) >> 24) & (keys.count - 1)
        while keys[slot] != pair, keys[slot] != Self.empty { slot = (slot + 1) & (keys.count - 1) }
        return slot
    }

    /// A pair occurs `count` times more, in a word.
    ///
    /// - Parameter grown: Gets the pair when it is the first time in this round.
    mutating func add(_ pair: UInt64, _ count: Int, word: Int32, round: Int32, grown: inout [UInt64]) {
        var slot = self.slot(pair)
        if keys[slot] == Self.empty {
            if (used + 1) * 2 > keys.count {
                grow()
                slot = self.slot(pair)
            }
            keys[slot] = pair
            numbers[slot] = Int32(pairs.count)
            used += 1
            pairs.append(pair)
            counts.append(0)
            newest.append(-1)
            rounds.append(-1)
        }
        let number = Int(numbers[slot])
        counts[number] += count
        if rounds[number] != round {
            rounds[number] = round
            grown.append(pair)
        }
        let last = newest[number]
        if last >= 0, placeWords[Int(last)] == word { return }
        newest[number] = Int32(placeWords.count)
        placeWords.append(word)
        placesBefore.append(last)
    }

    /// A pair occurs `count` times less.
    mutating func remove(_ pair: UInt64, _ count: Int) {
        let slot = self.slot(pair)
        if keys[slot] != Self.empty { counts[Int(numbers[slot])] -= count }
    }

    /// The words that a pair may be in, each at least once; the pair itself is then forgotten.
    mutating func takeWords(_ pair: UInt64) -> [Int32] {
        let slot = self.slot(pair)
        guard keys[slot] != Self.empty else { return [] }
        let number = Int(numbers[slot])
        var words: [Int32] = []
        var place = newest[number]
        while place >= 0 {
            words.append(placeWords[Int(place)])
            place = placesBefore[Int(place)]
        }
        (newest[number], counts[number]) = (-1, 0)
        return words
    }

    private mutating func grow() {
        keys = Array(repeating: Self.empty, count: keys.count * 4)
        numbers = Array(repeating: -1, count: keys.count)
        for (number, pair) in pairs.enumerated() {
            let slot = self.slot(pair)
            keys[slot] = pair
            numbers[slot] = Int32(number)
        }
    }
}

/// A heap of pairs: the most frequent first, equal ones by their symbols' ids.
struct PairHeap {
    typealias Item = (count: Int, pair: UInt64)
    private var items: [Item] = []

    @inline(__always)
    private static func precedes(_ a: Item, _ b: Item) -> Bool {
        a.count != b.count ? a.count > b.count : a.pair < b.pair
    }

    mutating func push(_ item: Item) {
        items.append(item)
        var child = items.count - 1
        while child > 0 {
            let parent = (child - 1) / 2
            guard Self.precedes(items[child], items[parent]) else { break }
            items.swapAt(child, parent)
            child = parent
        }
    }

    mutating func pop() -> Item? {
        guard let first = items.first else { return nil }
        let last = items.removeLast()
        guard !items.isEmpty else { return first }
        items[0] = last
        var parent = 0
        while true {
            var best = parent
            for child in [2 * parent + 1, 2 * parent + 2] where child < items.count {
                if Self.precedes(items[child], items[best]) { best = child }
            }
            if best == parent { return first }
            items.swapAt(best, parent)
            parent = best
        }
    }
}
