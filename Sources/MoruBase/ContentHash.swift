/// A hash of 128 bits over parts: tells contents apart, and finds damage. Where a content begins and ends counts, so that
/// ("ab", "c") is another than ("a", "bc").
///
/// It is fast, and no defence against somebody who looks for two contents of one hash.
public struct ContentHash: Sendable {
    private var lanes: (UInt64, UInt64, UInt64, UInt64) = (
        0x243F_6A88_85A3_08D3, 0x1319_8A2E_0370_7344, 0xA409_3822_299F_31D0, 0x082E_FA98_EC4E_6C89
    )

    /// A hash of nothing yet.
    public init() {}

    /// Adds a part.
    public mutating func add(_ bytes: UnsafeRawBufferPointer) {
        let whole = bytes.count & ~31
        for place in stride(from: 0, to: whole, by: 32) {
            mix(
                bytes.loadUnaligned(fromByteOffset: place, as: UInt64.self),
                bytes.loadUnaligned(fromByteOffset: place + 8, as: UInt64.self),
                bytes.loadUnaligned(fromByteOffset: place + 16, as: UInt64.self),
                bytes.loadUnaligned(fromByteOffset: place + 24, as: UInt64.self))
        }
        var rest: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)
        withUnsafeMutableBytes(of: &rest) { $0.copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[whole...])) }
        mix(rest.0, rest.1, rest.2, rest.3)
        mix(UInt64(bytes.count), 0, 0, 0)
    }

    /// Adds a text.
    public mutating func add(_ text: String) {
        var text = text
        text.withUTF8 { add(UnsafeRawBufferPointer($0)) }
    }

    /// Adds a number.
    public mutating func add(_ number: Int) { withUnsafeBytes(of: number.littleEndian) { add($0) } }

    /// Adds numbers.
    public mutating func add(_ numbers: [Int32]) { numbers.withUnsafeBytes { add($0) } }

    /// Adds another hash's digest.
    public mutating func add(_ digest: ContentDigest) {
        withUnsafeBytes(of: (digest.high.littleEndian, digest.low.littleEndian)) { add($0) }
    }

    /// The digest of all parts so far.
    public var digest: ContentDigest {
        let (a, b) = (Self.stir(lanes.0), Self.stir(lanes.1))
        let (c, d) = (Self.stir(lanes.2), Self.stir(lanes.3))
        let high = Self.stir(a &+ Self.rotated(b, 17) ^ c &+ Self.rotated(d, 43))
        return ContentDigest(high: high, low: Self.stir(high ^ Self.rotated(a, 31) &+ b ^ Self.rotated(c, 7) &+ d))
    }

    private mutating func mix(_ a: UInt64, _ b: UInt64, _ c: UInt64, _ d: UInt64) {
        lanes.0 = Self.folded(lanes.0 ^ a, 0x9E37_79B9_7F4A_7C15)
        lanes.1 = Self.folded(lanes.1 ^ b, 0xC2B2_AE3D_27D4_EB4F)
        lanes.2 = Self.folded(lanes.2 ^ c, 0x1656_67B1_9E37_79F9)
        lanes.3 = Self.folded(lanes.3 ^ d, 0x8538_ECB5_BD45_6EA3)
    }

    /// Lets every bit have a say in most others: both halves of the product, for high bits reach only the upper one.
    private static func folded(_ value: UInt64, _ factor: UInt64) -> UInt64 {
        let product = value.multipliedFullWidth(by: factor)
        return (product.high ^ product.low) &+ factor
    }

    private static func rotated(_ value: UInt64, _ bits: UInt64) -> UInt64 { value << bits | value >> (64 - bits) }

    /// Lets every bit have a say in every other.
    private static func stir(_ value: UInt64) -> UInt64 {
        var value = (value ^ value >> 32) &* 0xD6E8_FEB8_6659_FD93
        value = (value ^ value >> 29) &* 0xA076_1D64_78BD_642F
        return value ^ value >> 32
    }
}

/// What a ``ContentHash`` comes to.
public struct ContentDigest: Sendable, Hashable {
    let high: UInt64
    let low: UInt64

    init(high: UInt64, low: UInt64) { (self.high, self.low) = (high, low) }

    /// The digest of 32 hexadecimal digits; nil for another text.
    public init?(_ text: some StringProtocol) {
        guard text.utf8.count == 32, text.allSatisfy({ $0.isHexDigit && !$0.isUppercase }),
            let high = UInt64(text.prefix(16), radix: 16), let low = UInt64(text.suffix(16), radix: 16)
        else { return nil }
        self.init(high: high, low: low)
    }

    /// 32 hexadecimal digits.
    public var text: String { [high, low].map { Self.padded(String($0, radix: 16)) }.joined() }

    private static func padded(_ digits: String) -> String { String(repeating: "0", count: 16 - digits.count) + digits }
}
