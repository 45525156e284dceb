import CMoruKernels
import Foundation
import MoruTestKit
import Testing

@Suite("Storage formats")
struct QuantTests {
    struct Golden: Decodable {
        struct Read: Decodable {
            let format, bytes, values: String
        }
        struct Written: Decodable {
            struct Format: Decodable {
                let format, bytes: String
            }
            let values: String
            let formats: [Format]
        }
        let read: [Read]
        let written: Written
    }

    static let names: [String: moru_dtype] = [
        "F16": MORU_F16, "BF16": MORU_BF16, "Q4_0": MORU_Q4_0, "Q4_1": MORU_Q4_1, "Q5_0": MORU_Q5_0,
        "Q5_1": MORU_Q5_1, "Q8_0": MORU_Q8_0, "Q2_K": MORU_Q2_K, "Q3_K": MORU_Q3_K, "Q4_K": MORU_Q4_K,
        "Q5_K": MORU_Q5_K, "Q6_K": MORU_Q6_K,
    ]

    func golden() throws -> Golden {
        let file = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Goldens/quants.json")
        return try JSONDecoder().decode(Golden.self, from: Data(contentsOf: file))
    }

    func bytes(_ hex: String) -> [UInt8] {
        let digits = Array(hex.utf8).map { $0 < 58 ? $0 - 48 : $0 - 87 }
        return stride(from: 0, to: digits.count, by: 2).map { digits[$0] << 4 | digits[$0 + 1] }
    }

    func floats(_ hex: String) -> [Float] {
        let raw = bytes(hex)
        return stride(from: 0, to: raw.count, by: 4).map { at in
            Float(bitPattern: (0..<4).reduce(UInt32(0)) { $0 | UInt32(raw[at + $1]) << (8 * UInt32($1)) })
        }
    }

    @Test("Every block format reads as the gguf package reads it", arguments: Level.all)
    func read(_ level: Level) throws {
        let entries = try golden().read
        #expect(entries.count == 10)
        for entry in entries {
            let format = try #require(Self.names[entry.format])
            let expected = floats(entry.values), input = bytes(entry.bytes)
            #expect(
                input.count / moru_block_bytes(format) * moru_block_elements(format) == expected.count,
                "\(entry.format)")
            var actual = [Float](repeating: .nan, count: expected.count)
            level.functions.dequantize(format, input, &actual, actual.count)
            // A fused multiply-add may round once where the reference rounds twice.
            expectClose(actual, doubles(expected), tolerance: 2e-7, scale: 1, entry.format)
        }
    }

    @Test("Quantising gives the gguf package's bytes", arguments: Level.all)
    func write(_ level: Level) throws {
        let written = try golden().written
        let values = floats(written.values)
        #expect(written.formats.count == 7)
        for entry in written.formats {
            let format = try #require(Self.names[entry.format])
            #expect(moru_can_quantize(format))
            var actual = [UInt8](
                repeating: 0, count: values.count / moru_block_elements(format) * moru_block_bytes(format))
            level.functions.quantize(format, values, &actual, values.count)
            expectEqual(actual, bytes(entry.bytes), "\(entry.format)")
        }
    }

    @Test("A whole number of blocks of any count, at each level as in the reference", arguments: Level.all, allFormats)
    func levels(_ level: Level, _ format: moru_dtype) {
        var random = Random(7)
        for blocks in [0, 1, 2, 3, 7, 17, 33] {
            let count = blocks * moru_block_elements(format)
            let input = random.weights(format, count: count)
            var actual = [Float](repeating: .nan, count: count)
            level.functions.dequantize(format, input, &actual, count)
            expectClose(actual, doubles(dequantized(format, input, count: count)), tolerance: 2e-7)
        }
    }

    @Test("All 65536 half-precision numbers survive the way to f32 and back", arguments: Level.all)
    func halves(_ level: Level) {
        let bits = (0...UInt16.max).map { $0 }
        for format in [MORU_F16, MORU_BF16] {
            var wide = [Float](repeating: 0, count: bits.count)
            var back = [UInt16](repeating: 0, count: bits.count)
            level.functions.dequantize(format, bits, &wide, bits.count)
            level.functions.quantize(format, wide, &back, bits.count)
            let wrong = bits.indices.filter { wide[$0].isNaN ? back[$0] & 0x7fff <= 0x7c00 : back[$0] != bits[$0] }
            #expect(wrong.isEmpty, "first: \(wrong.first.map { bits[$0] } ?? 0)")
            if format == MORU_BF16 {
                #expect(bits.indices.allSatisfy { wide[$0].isNaN || wide[$0].bitPattern >> 16 == UInt32(bits[$0]) })
            }
        }
        // 1, the largest, the smallest normal and subnormal numbers, and infinity of half precision.
        var wide = [Float](repeating: 0, count: 5)
        level.functions.dequantize(MORU_F16, [0x3c00, 0x7bff, 0x0400, 0x0001, 0xfc00] as [UInt16], &wide, 5)
        #expect(wide == [1, 65504, 0x1p-14, 0x1p-24, -.infinity])
    }

    @Test("Rounding to 16 bits is to nearest, ties to even", arguments: Level.all)
    func rounding(_ level: Level) {
        // bf16 has 7 bits of fraction: 1 + 2^-8 and 1 + 3 * 2^-8 lie half-way.
        let cases: [Float] = [1 + 0x1p-9, 1 + 0x1p-8, 1 + 3 * 0x1p-8, -1 - 0x1.8p-8, 65519, 65520, 0x1p-25, 0x1.8p-24]
        let padded = cases + [Float](repeating: 0, count: 32 - cases.count)
        var half = [UInt16](repeating: 0, count: 32)
        level.functions.quantize(MORU_BF16, padded, &half, 32)
        #expect(half[0..<4] == [0x3f80, 0x3f80, 0x3f82, 0xbf81])
        level.functions.quantize(MORU_F16, padded, &half, 32)
        #expect(half[4] == 0x7bff && half[5] == 0x7c00)
        #expect(half[6] == 0 && half[7] == 2)
    }

    static let searched: [moru_dtype] = [
        MORU_Q4_0, MORU_Q4_1, MORU_Q5_0, MORU_Q5_1, MORU_Q8_0, MORU_Q4_K, MORU_Q5_K, MORU_Q6_K,
    ]

    /// The relative root mean square error that llama.cpp's own quantisers leave on normally distributed values.
    static let usualErrors: [moru_dtype: Double] = [
        MORU_Q4_0: 0.0859, MORU_Q4_1: 0.0782, MORU_Q5_0: 0.0427, MORU_Q5_1: 0.0379, MORU_Q8_0: 0.00535,
        MORU_Q4_K: 0.0714, MORU_Q5_K: 0.0361, MORU_Q6_K: 0.0177,
    ]

    func quantizedRows(
        _ level: Level, _ format: moru_dtype, _ values: [Float], _ importance: [Float]?, columns: Int
    ) -> [UInt8] {
        let rows = values.count / columns
        var bytes = [UInt8](
            repeating: 0, count: values.count / moru_block_elements(format) * moru_block_bytes(format))
        level.functions.quantize_rows(format, values, importance, &bytes, rows, columns)
        return bytes
    }

    @Test("Searched scales leave no more error than llama.cpp's", arguments: searched)
    func searchedErrors(_ format: moru_dtype) throws {
        var random = Random(11)
        let columns = 768
        // Sums of twelve are normally distributed, nearly
        let values = (0..<64 * columns).map { _ in random.floats(12, -0.5...0.5).reduce(0, +) }
        let level = try #require(Level.all.first)
        let bytes = quantizedRows(level, format, values, nil, columns: columns)
        var again = [Float](repeating: 0, count: values.count)
        level.functions.dequantize(format, bytes, &again, again.count)
        let error = zip(values, again).reduce(0.0) { $0 + Double(($1.0 - $1.1) * ($1.0 - $1.1)) }
        let relative = (error / values.reduce(0.0) { $0 + Double($1 * $1) }).squareRoot()
        let usual = try #require(Self.usualErrors[format])
        #expect(relative < usual * 1.03 && relative > usual * 0.8, "\(relative), usual is \(usual)")
    }

    @Test("Searched scales are the same bytes at each level", arguments: Level.all, searched)
    func searchedLevels(_ level: Level, _ format: moru_dtype) throws {
        var random = Random(5)
        let reference = try #require(Level.all.first)
        for (rows, blocks) in [(1, 1), (3, 2), (2, 5)] {
            let columns = blocks * moru_block_elements(format)
            var values = random.floats(rows * columns)
            // Blocks without a range, of one sign, and with one large element
            for index in 0..<min(32, columns) { values[index] = 0 }
            for index in 32..<min(64, columns) { values[index] = abs(values[index]) + 1 }
            values[columns - 1] = -40
            let importance = random.floats(columns, 0.01...1)
            for weights in [nil, importance] {
                let found = quantizedRows(level, format, values, weights, columns: columns)
                let expected = quantizedRows(reference, format, values, weights, columns: columns)
                expectEqual(found, expected, "\(rows) x \(columns)")
                var again = [Float](repeating: .nan, count: values.count)
                level.functions.dequantize(format, found, &again, again.count)
                #expect(!again.contains { !$0.isFinite })
                for index in 0..<min(32, columns) where columns > 32 { #expect(again[index] == 0) }
            }
        }
    }

    @Test("Formats that cannot be written are said to be so")
    func writable() {
        #expect(
            allFormats.filter { !moru_can_quantize($0) } == [MORU_Q2_K, MORU_Q3_K, MORU_Q4_K, MORU_Q5_K, MORU_Q6_K])
        #expect(allFormats.filter { moru_can_quantize_rows($0) } == Self.searched)
        #expect(allFormats.map { moru_block_elements($0) } == [1, 1, 1, 32, 32, 32, 32, 32, 256, 256, 256, 256, 256])
        #expect(allFormats.map { moru_block_bytes($0) } == [4, 2, 2, 18, 20, 22, 24, 34, 84, 110, 144, 176, 210])
    }
}
