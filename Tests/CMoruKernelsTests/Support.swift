import CEmulatedTiles
import CMoruKernels
import Foundation
import MoruBase
import Testing

/// One instruction-set level under test. Unchecked: its table of functions is a constant.
struct Level: CustomTestStringConvertible, @unchecked Sendable {
    let table: UnsafePointer<moru_kernels>
    let byteTable: UnsafePointer<moru_byte_kernels>
    /// Its tiles, where they are emulated.
    var tiles: emulated_level?

    var bytes: moru_byte_kernels { byteTable.pointee }
    /// Whether this thread left no tiles configured.
    var isReleased: Bool { tiles?.is_released() ?? true }
    var functions: moru_kernels { table.pointee }
    var name: String { String(cString: table.pointee.name) }
    var testDescription: String { name }
    /// Whether products may be rounded to bf16 at this level.
    var hasBF16: Bool { name.contains("bf16") || name.contains("amx") }

    /// Every level that this CPU can run, the scalar reference first.
    static let all: [Level] = {
        let candidates = [
            MORU_CPU_SCALAR, MORU_CPU_NEON, MORU_CPU_AVX2, MORU_CPU_AVX2_VNNI, MORU_CPU_AVX512, MORU_CPU_AVX512_BF16,
            MORU_CPU_AMX,
        ]
        return candidates.compactMap { level in
            moru_kernels_for(level).map { Level(table: $0, byteTable: moru_byte_kernels_for(level)) }
        }
    }()

    /// The AMX level over emulated tiles: as it is compiled, and with narrower vectors, for machines that have no others.
    static let emulated = [emulated_amx(), emulated_amx_narrow()].compactMap(\.?.pointee).map {
        Level(table: $0.kernels, byteTable: $0.bytes, tiles: $0)
    }

    /// With the best of them, for the kernels that tiles compute.
    static let allWithEmulated = all + emulated.prefix(1)
}

let allFormats: [moru_dtype] = (0..<MORU_DTYPE_COUNT.rawValue).map { moru_dtype(rawValue: $0) }

/// Seeded numbers in the shapes that kernels want.
struct Random: RandomNumberGenerator {
    private var generator: SplitMix64

    init(_ seed: UInt64) { generator = SplitMix64(seed: seed) }

    mutating func next() -> UInt64 { generator.next() }

    mutating func floats(_ count: Int, _ range: ClosedRange<Float> = -1...1) -> [Float] {
        (0..<count).map { _ in Float.random(in: range, using: &self) }
    }

    mutating func int(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &self) }
    mutating func bool() -> Bool { Bool.random(using: &self) }

    /// Random bytes in a storage format, with scales of moderate size.
    mutating func weights(_ format: moru_dtype, count: Int) -> [UInt8] {
        let elements = moru_block_elements(format), size = moru_block_bytes(format)
        var bytes = (0..<count / elements * size).map { _ in UInt8.random(in: 0...255, using: &self) }
        let scales: [Int] =
            switch format {
            case MORU_Q4_0, MORU_Q5_0, MORU_Q8_0: [0]
            case MORU_Q4_1, MORU_Q5_1, MORU_Q4_K, MORU_Q5_K: [0, 2]
            case MORU_Q2_K: [80, 82]
            case MORU_Q3_K: [108]
            case MORU_Q6_K: [208]
            default: []
            }
        for block in 0..<count / elements {
            let at = block * size
            let value = Float.random(in: -1...1, using: &self)
            switch format {
            case MORU_F32: bytes.replaceSubrange(at..<at + 4, with: little(value.bitPattern))
            case MORU_F16: bytes.replaceSubrange(at..<at + 2, with: little(halfBits(value)))
            case MORU_BF16: bytes.replaceSubrange(at..<at + 2, with: little(UInt16(value.bitPattern >> 16)))
            default:
                for offset in scales {
                    let bits = halfBits(Float.random(in: -0.1...0.1, using: &self))
                    bytes.replaceSubrange(at + offset..<at + offset + 2, with: little(bits))
                }
            }
        }
        return bytes
    }
}

func little<T: FixedWidthInteger>(_ value: T) -> [UInt8] { withUnsafeBytes(of: value.littleEndian) { Array($0) } }

/// The bits of a number as IEEE half precision, for numbers in its normal range (rounds toward zero).
func halfBits(_ value: Float) -> UInt16 {
    let bits = value.bitPattern, sign = UInt16(bits >> 16) & 0x8000
    let exponent = Int(bits >> 23 & 255) - 127 + 15
    if exponent <= 0 { return sign }
    return sign | UInt16(exponent) << 10 | UInt16(bits >> 13 & 0x3ff)
}

/// Each element within `tolerance * (scale + |expected|)`; names the worst.
func expectClose(
    _ actual: [Float], _ expected: [Double], tolerance: Double, scale: Double = 1, _ what: String = "",
    sourceLocation: SourceLocation = #_sourceLocation
) {
    #expect(actual.count == expected.count, sourceLocation: sourceLocation)
    var worst = 0.0
    var at = -1
    for (index, (a, e)) in zip(actual, expected).enumerated() {
        if Double(a) == e || (a.isNaN && e.isNaN) { continue }
        let error = abs(Double(a) - e) / (scale + abs(e))
        if error > worst || error.isNaN { (worst, at) = (error.isNaN ? .infinity : error, index) }
    }
    #expect(
        worst <= tolerance,
        "\(what) element \(at): \(at >= 0 ? "\(actual[at]) for \(expected[at])" : "")", sourceLocation: sourceLocation)
}

/// Activations in f32 or bf16, and the numbers that they are.
struct Activations {
    let type: moru_dtype
    let bytes: [UInt8]
    let floats: [Float]

    /// Rounded to the type.
    init(_ values: [Float], type: moru_dtype) { self.init(bytes: stored(values, type), type: type) }

    init(bytes: [UInt8], type: moru_dtype) {
        (self.bytes, self.type) = (bytes, type)
        floats = dequantized(type, bytes, count: bytes.count / moru_block_bytes(type))
    }
}

/// Numbers as a type of activations, or of keys and values, holds them; and what they are then.
func stored(_ values: [Float], _ type: moru_dtype) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: values.count / moru_block_elements(type) * moru_block_bytes(type))
    Level.all[0].functions.quantize(type, values, &bytes, values.count)
    return bytes
}

func rounded(_ values: [Float], _ type: moru_dtype) -> [Float] {
    dequantized(type, stored(values, type), count: values.count)
}

func doubles(_ values: [Float]) -> [Double] { values.map(Double.init) }

/// Runs `body` with scratch memory of the given size (and a canary behind it, which must survive).
func withScratch(_ bytes: Int, _ body: (UnsafeMutableRawPointer) -> Void) {
    let memory = UnsafeMutableRawPointer.allocate(byteCount: bytes + 64, alignment: 16)
    defer { memory.deallocate() }
    memory.initializeMemory(as: UInt8.self, repeating: 0xA5, count: bytes + 64)
    body(memory)
    let intact = (bytes..<bytes + 64).allSatisfy { memory.load(fromByteOffset: $0, as: UInt8.self) == 0xA5 }
    #expect(intact, "scratch overrun")
}

/// Dequantised by the scalar reference.
func dequantized(_ format: moru_dtype, _ bytes: [UInt8], count: Int) -> [Float] {
    var out = [Float](repeating: 0, count: count)
    Level.all[0].functions.dequantize(format, bytes, &out, count)
    return out
}
