import Foundation
import MoruBase

/// A small, fast, seeded random generator whose whole state can be saved: xoshiro256** seeded by SplitMix64
/// (Blackman and Vigna, 2018).
public struct RandomGenerator: RandomNumberGenerator, Sendable, Hashable, Codable {
    private var s0: UInt64
    private var s1: UInt64
    private var s2: UInt64
    private var s3: UInt64

    /// The generator of a seed: the same seed gives the same numbers on every machine.
    public init(seed: UInt64) {
        var spread = SplitMix64(seed: seed)
        (s0, s1, s2, s3) = (spread.next(), spread.next(), spread.next(), spread.next())
    }

    /// 64 random bits.
    public mutating func next() -> UInt64 {
        let product = s1 &* 5
        let result = (product << 7 | product >> 57) &* 9
        let shifted = s1 << 17
        s2 ^= s0
        s3 ^= s1
        s1 ^= s2
        s0 ^= s3
        s2 ^= shifted
        s3 = s3 << 45 | s3 >> 19
        return result
    }

    /// A number in 0 ..< 1.
    public mutating func uniform() -> Float { Float(next() >> 40) * 0x1p-24 }

    /// A double-precision number in 0 ..< 1.
    public mutating func uniformDouble() -> Double { Double(next() >> 11) * 0x1p-53 }

    /// A number of the standard normal distribution (Box and Muller, 1958).
    public mutating func normal() -> Float {
        let radius = (-2 * log(1 - uniformDouble())).squareRoot()
        return Float(radius * cos(2 * .pi * uniformDouble()))
    }

    /// The numbers 0 ..< count in random order.
    public mutating func permutation(_ count: Int) -> [Int] { (0..<count).shuffled(using: &self) }
}
