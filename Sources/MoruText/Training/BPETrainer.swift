/// Learns the merges of a byte-level BPE (Sennrich et al., 2016; Radford et al., 2019): again and again, the most
/// frequent pair of neighbouring symbols becomes a symbol. Of equally frequent pairs the one with the lower ids is
/// taken, so that the same corpus gives the same merges as the `tokenizers` library.
struct BPETrainer {
    /// What was learnt.
    struct Result: Sendable {
        /// The symbols as byte strings, in the order of their ids after the special tokens.
        var pieces: [[UInt8]]
        /// The merges, as positions in ``pieces``.
        var merges: [(left: Int, right: Int)]
    }

    /// Symbols to end with.
    let pieceCount: Int
    /// Pairs that occur less often are not merged.
    let minimumFrequency: Int
    private var pieces: [[UInt8]]
    private var ids: [[UInt8]: Int32] = [:]
    private var merges: [(left: Int, right: Int)] = []
    private var counts = PairCounts()
    private var heap = PairHeap()
    private var symbols: [Int32] = []
    private var starts: [Int] = []
    private var lengths: [Int] = []

    init(pieceCount: Int, minimumFrequency: Int) {
        self.pieceCount = pieceCount
        self.minimumFrequency = minimumFrequency
        // In the order of the characters that stand for them
        pieces = ByteAlphabet.scalars.indices.sorted { ByteAlphabet.scalars[$0] < ByteAlphabet.scalars[$1] }
            .map { [UInt8($0)] }
        for (id, piece) in pieces.enumerated() { ids[piece] = Int32(id) }
    }

    /// Learns from words.
    ///
    /// - Parameter progress: Told the number of symbols now and then; returning false ends the training.
    mutating func train(_ words: WordList, progress: (Int) -> Bool = { _ in true }) -> Result {
        prepare(words)
        var round: Int32 = 0
        while pieces.count < pieceCount, let top = heap.pop() {
            let current = counts[top.pair]
            if current != top.count {
                if current > 0 { heap.push((current, top.pair)) }
                continue
            }
            if current < max(1, minimumFrequency) { break }
            round += 1
            merge(top.pair, words, round: round)
            if round % 256 == 0, !progress(pieces.count) { break }
        }
        return Result(pieces: pieces, merges: merges)
    }

    private mutating func prepare(_ words: WordList) {
        var byteIDs = [Int32](repeating: 0, count: 256)
        for (id, piece) in pieces.enumerated() { byteIDs[Int(piece[0])] = Int32(id) }
        symbols = words.bytes.map { byteIDs[Int($0)] }
        var grown: [UInt64] = []
        for word in 0..<words.count {
            let range = words.range(word)
            starts.append(range.lowerBound)
            lengths.append(range.count)
            for position in range.dropLast() {
                counts.add(
                    PairCounts.pair(symbols[position], symbols[position + 1]), words.counts[word], word: Int32(word),
                    round: 0, grown: &grown)
            }
        }
        for pair in grown { heap.push((counts[pair], pair)) }
    }

    private mutating func merge(_ pair: UInt64, _ words: WordList, round: Int32) {
        let (left, right) = (Int32(truncatingIfNeeded: pair >> 32), Int32(truncatingIfNeeded: pair & 0xFFFF_FFFF))
        let piece = pieces[Int(left)] + pieces[Int(right)]
        let id = ids[piece] ?? Int32(pieces.count)
        if Int(id) == pieces.count {
            pieces.append(piece)
            ids[piece] = id
        }
        merges.append((Int(left), Int(right)))
        var grown: [UInt64] = []
        for word in counts.takeWords(pair) {
            merge(left, right, into: id, word: Int(word), words.counts[Int(word)], round, &grown)
        }
        for pair in grown {
            let count = counts[pair]
            if count > 0 { heap.push((count, pair)) }
        }
    }

    /// Replaces the pair in a word, and moves the counts of what stands beside it.
    private mutating func merge(
        _ left: Int32, _ right: Int32, into id: Int32, word: Int, _ count: Int, _ round: Int32, _ grown: inout [UInt64]
    ) {
        let (start, length) = (starts[word], lengths[word])
        var (read, write) = (0, 0)
        while read < length {
            let symbol = symbols[start + read]
            guard symbol == left, read + 1 < length, symbols[start + read + 1] == right else {
                symbols[start + write] = symbol
                read += 1
                write += 1
                continue
            }
            if write > 0 {
                let before = symbols[start + write - 1]
                counts.remove(PairCounts.pair(before, left), count)
                counts.add(PairCounts.pair(before, id), count, word: Int32(word), round: round, grown: &grown)
            }
            if read + 2 < length {
                let after = symbols[start + read + 2]
                counts.remove(PairCounts.pair(right, after), count)
                counts.add(PairCounts.pair(id, after), count, word: Int32(word), round: round, grown: &grown)
            }
            symbols[start + write] = id
            read += 2
            write += 1
        }
        lengths[word] = write
    }
}
