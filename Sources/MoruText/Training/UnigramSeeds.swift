/// The pieces that the training of a unigram model begins with: every frequent character, and the substrings that are
/// frequent for their length.
///
/// A substring that only ever occurs inside one longer substring is left out, as a suffix array would show: the longer
/// one does its work.
struct UnigramSeeds {
    /// Characters of a piece at most.
    private static let maximumCharacters = 16
    /// Substrings counted at most before those of the rarer words are passed over.
    private static let maximumSubstrings = 24_000_000

    private struct Substring {
        var offset: Int
        var length: Int32
        var characters: Int32
        var count: Int
        var isInner = false
    }

    private let words: WordList
    private var slots: [Int32] = Array(repeating: -1, count: 1 << 16)
    private var found: [Substring] = []

    init(_ words: WordList) { self.words = words }

    /// - Returns: The characters that make up `coverage` of the text and always stay, then other pieces, the best first;
    ///   scores are logarithms of shares.
    mutating func make(_ count: Int, coverage: Double) -> (required: Int, pieces: [UnigramTrainer.Piece]) {
        words.bytes.withUnsafeBufferPointer { buffer in
            guard let bytes = buffer.baseAddress else { return }
            for word in 0..<words.count where found.count < Self.maximumSubstrings { addSubstrings(of: word, bytes) }
            markInner(bytes)
        }
        let singles = found.filter { $0.characters == 1 }.sorted(by: precedes { $0.count })
        let total = singles.reduce(0) { $0 + $1.count }
        var covered = 0
        let required = singles.prefix { single in
            defer { covered += single.count }
            return Double(covered) < coverage * Double(total)
        }
        let longer = found.filter { $0.characters > 1 && $0.count > 1 && !$0.isInner }
            .sorted(by: precedes { $0.count * Int($0.characters) })
        let chosen = required + longer.prefix(max(0, count - required.count))
        let weight = { (substring: Substring) in Double(substring.count * Int(substring.characters)) }
        let sum = chosen.reduce(0) { $0 + weight($1) }
        let pieces = chosen.map { substring in
            UnigramTrainer.Piece(
                bytes: Array(words.bytes[substring.offset..<substring.offset + Int(substring.length)]),
                score: UnigramTrainer.logarithm(weight(substring) / sum))
        }
        return (required.count, pieces)
    }

    /// The larger key first, equal ones by their bytes.
    private func precedes(_ key: @escaping (Substring) -> Int) -> (Substring, Substring) -> Bool {
        { [words] a, b in
            let (left, right) = (key(a), key(b))
            if left != right { return left > right }
            return words.bytes[a.offset..<a.offset + Int(a.length)]
                .lexicographicallyPrecedes(words.bytes[b.offset..<b.offset + Int(b.length)])
        }
    }

    private mutating func addSubstrings(of word: Int, _ bytes: UnsafePointer<UInt8>) {
        let range = words.range(word)
        guard range.count <= UnigramTrainer.maximumWordBytes else { return }
        var start = range.lowerBound
        while start < range.upperBound {
            var end = start
            var characters = 0
            while end < range.upperBound, characters < Self.maximumCharacters {
                // A piece has the mark of a space at its beginning alone
                if end > start, isMark(bytes, end, range.upperBound) { break }
                end += decodeScalar(bytes, end, range.upperBound).length
                characters += 1
                add(bytes, start, end - start, characters, words.counts[word])
            }
            start += decodeScalar(bytes, start, range.upperBound).length
        }
    }

    private func isMark(_ bytes: UnsafePointer<UInt8>, _ position: Int, _ end: Int) -> Bool {
        position + 3 <= end && bytes[position] == UnicodeMark.space[0] && bytes[position + 1] == UnicodeMark.space[1]
            && bytes[position + 2] == UnicodeMark.space[2]
    }

    private func slot(_ bytes: UnsafePointer<UInt8>, _ offset: Int, _ length: Int) -> Int {
        var slot = Int(truncatingIfNeeded: spanHash(bytes + offset, length) >> 20) & (slots.count - 1)
        while slots[slot] >= 0 {
            let other = found[Int(slots[slot])]
            if Int(other.length) == length, spansEqual(bytes + other.offset, bytes + offset, length) { break }
            slot = (slot + 1) & (slots.count - 1)
        }
        return slot
    }

    private mutating func add(
        _ bytes: UnsafePointer<UInt8>, _ offset: Int, _ length: Int, _ characters: Int, _ count: Int
    ) {
        let slot = slot(bytes, offset, length)
        if slots[slot] >= 0 {
            found[Int(slots[slot])].count += count
            return
        }
        slots[slot] = Int32(found.count)
        found.append(
            Substring(offset: offset, length: Int32(length), characters: Int32(characters), count: count))
        guard found.count * 2 > slots.count else { return }
        slots = Array(repeating: -1, count: slots.count * 4)
        for (number, substring) in found.enumerated() {
            slots[self.slot(bytes, substring.offset, Int(substring.length))] = Int32(number)
        }
    }

    /// Marks each substring whose every occurrence is at the same place of one that is longer by a character.
    private mutating func markInner(_ bytes: UnsafePointer<UInt8>) {
        for number in found.indices where found[number].characters > 2 {
            let (offset, length, count) = (found[number].offset, Int(found[number].length), found[number].count)
            let first = decodeScalar(bytes, offset, offset + length).length
            let last = offset + length - scalarStart(before: offset + length, bytes, from: offset)
            for (start, size) in [(offset, length - last), (offset + first, length - first)] {
                let inner = slots[slot(bytes, start, size)]
                if inner >= 0, found[Int(inner)].count == count { found[Int(inner)].isInner = true }
            }
        }
    }
}
