import MoruBase

/// The numbers 0 ..< count in a random order, each found by its place in constant time and without a table.
///
/// A Feistel network over the next even power of two, walked along its cycle until it falls below `count` (Black and
/// Rogaway, "Ciphers with Arbitrary Finite Domains", 2002).
struct IndexPermutation: Sendable {
    let count: Int
    private let halfBits: Int
    private let keys: [UInt64]

    private static let rounds = 6
    /// Fewer bits a half leave the rounds too little to choose from.
    private static let minimumHalfBits = 3

    /// The order of a seed, the same on every machine.
    init(count: Int, seed: UInt64) {
        precondition(count >= 0, "a permutation of \(count) numbers")
        self.count = count
        let bits = Int.bitWidth - max(0, count - 1).leadingZeroBitCount
        halfBits = max(Self.minimumHalfBits, (bits + 1) / 2)
        var generator = SplitMix64(seed: seed)
        keys = (0..<Self.rounds).map { _ in generator.next() }
    }

    /// The number at a place of the order.
    subscript(place: Int) -> Int {
        precondition(0..<count ~= place, "place \(place) of \(count)")
        var value = UInt64(place)
        repeat { value = encrypted(value) } while value >= UInt64(count)
        return Int(value)
    }

    private func encrypted(_ value: UInt64) -> UInt64 {
        let mask = (1 as UInt64) << UInt64(halfBits) - 1
        var (left, right) = (value >> UInt64(halfBits), value & mask)
        for key in keys { (left, right) = (right, left ^ (Self.stirred(right ^ key) & mask)) }
        return left << UInt64(halfBits) | right
    }

    /// SplitMix64's output function: every bit of the result depends on every bit of the word.
    private static func stirred(_ word: UInt64) -> UInt64 {
        var word = word
        word = (word ^ word >> 30) &* 0xBF58_476D_1CE4_E5B9
        word = (word ^ word >> 27) &* 0x94D0_49BB_1331_11EB
        return word ^ word >> 31
    }
}
