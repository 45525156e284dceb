/// A tiny seeded generator (Steele, Lea and Flood, 2014): spreads a seed over a larger state, and gives tests numbers
/// that are the same in every run.
package struct SplitMix64: RandomNumberGenerator, Sendable {
    private var state: UInt64

    /// The generator of a seed.
    package init(seed: UInt64) { state = seed }

    /// 64 random bits.
    package mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
