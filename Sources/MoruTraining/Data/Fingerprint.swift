import MoruNN
import MoruTensor

/// A 64-bit hash that is the same in every process, to notice that something changed; no protection against malice.
struct Fingerprint: Hashable, CustomStringConvertible {
    private(set) var value: UInt64 = 0xCBF2_9CE4_8422_2325

    /// Adds a number: FNV-1a over whole words, each stirred so that its high bits count too.
    mutating func add(_ word: Int) { add(UInt64(bitPattern: Int64(word))) }

    /// Adds a number.
    mutating func add(_ word: UInt64) {
        value = (value ^ word) &* 0x100_0000_01B3
        value ^= value >> 29
    }

    /// Adds text.
    mutating func add(_ text: String) {
        add(text.utf8.count)
        for byte in text.utf8 { add(UInt64(byte)) }
    }

    /// Adds bytes, eight at a time.
    mutating func add(bytes: UnsafeRawBufferPointer) {
        add(bytes.count)
        let whole = bytes.count & ~7
        for offset in stride(from: 0, to: whole, by: 8) {
            add(UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self)))
        }
        for byte in bytes[whole...] { add(UInt64(byte)) }
    }

    /// Adds a tensor: its shape, dtype and a sample of its bytes, so that large models take no time.
    mutating func add(_ tensor: Tensor) {
        add(tensor.dtype.rawValue)
        for size in tensor.shape { add(size) }
        let words = tensor.byteCount / 8
        let stride = max(1, words / 1024)
        for index in Swift.stride(from: 0, to: words, by: stride) {
            add(tensor.bytes.loadUnaligned(fromByteOffset: index * 8, as: UInt64.self))
        }
        withExtendedLifetime(tensor) {}
    }

    /// The hash as hexadecimal digits.
    var description: String {
        let digits = String(value, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }
}

/// A seed that depends on several numbers.
func derivedSeed(_ parts: UInt64...) -> UInt64 {
    var fingerprint = Fingerprint()
    for part in parts { fingerprint.add(part) }
    return fingerprint.value
}
