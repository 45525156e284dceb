import CMoruKernels
import MoruTestKit
import Testing

@Suite("Products of bytes")
struct ByteProductTests {
    /// Memory that begins on a multiple of 64, filled with something.
    final class Memory {
        let bytes: UnsafeMutableRawBufferPointer

        init(_ count: Int) {
            bytes = .allocate(byteCount: count + 64, alignment: 64)
            bytes.initializeMemory(as: UInt8.self, repeating: 0xA5)
        }

        deinit { bytes.deallocate() }
        /// Whether nothing was written after the first `count` bytes.
        func ends(at count: Int) -> Bool { bytes[count...].allSatisfy { $0 == 0xA5 } }
    }

    static func packed(_ w: [UInt8], _ type: moru_dtype, n: Int, k: Int, split: Int) -> Memory {
        let count = moru_byte_packed_bytes(n, k), memory = Memory(count)
        let rowBytes = k / moru_block_elements(type) * moru_block_bytes(type)
        var scratch = [Float](repeating: 0, count: k)
        moru_byte_pack(type, w, rowBytes, n, k, memory.bytes.baseAddress, split, n, &scratch)
        moru_byte_pack(type, w, rowBytes, n, k, memory.bytes.baseAddress, 0, split, &scratch)
        #expect(memory.ends(at: count), "packing writes beyond its end")
        return memory
    }

    static func rounded(_ level: Level, _ x: Activations, rows: Int, k: Int, stride: Int) -> Memory {
        let count = rows * moru_byte_row_bytes(k), memory = Memory(count), middle = rows / 2, type = x.type
        x.bytes.withUnsafeBytes { x in
            level.bytes.rows(type, x.baseAddress, stride, k, memory.bytes.baseAddress, middle, rows)
            level.bytes.rows(type, x.baseAddress, stride, k, memory.bytes.baseAddress, 0, middle)
        }
        #expect(memory.ends(at: count), "rounding writes beyond its end")
        return memory
    }

    /// [rows, n], between whose rows nothing is written.
    static func product(
        _ level: Level, _ a: Memory, _ b: Memory, rows: Range<Int>, n: Int, k: Int, split: Int = 0,
        adding addend: [Float]? = nil
    ) -> [Float] {
        let stride = n + 3
        var c = [Float](repeating: 7, count: rows.upperBound * stride)
        for row in rows {
            for column in 0..<n { c[row * stride + column] = addend?[row * n + column] ?? .nan }
        }
        c.withUnsafeMutableBufferPointer { c in
            var args = moru_byte_product()
            (args.n, args.k, args.a, args.b) = (
                n, k, UnsafeRawPointer(a.bytes.baseAddress), UnsafeRawPointer(b.bytes.baseAddress)
            )
            (args.c, args.c_row_stride, args.accumulate) = (c.baseAddress, stride, addend != nil)
            level.bytes.product(&args, rows.lowerBound, rows.upperBound, 0, split)
            level.bytes.product(&args, rows.lowerBound, rows.upperBound, split, n)
        }
        #expect(level.isReleased)
        #expect(rows.allSatisfy { row in c[row * stride + n..<(row + 1) * stride].allSatisfy { $0 == 7 } })
        return rows.flatMap { c[$0 * stride..<$0 * stride + n] }
    }

    @Test(
        "Random shapes: near the exact product, and the same bits at every level",
        arguments: Level.all + Level.emulated)
    func shapes(_ level: Level) {
        var random = Random(31)
        for round in 0..<24 {
            let rows = round % 4 == 3 ? random.int(16...70) : random.int(1...21)
            let (n, k) = (random.int(1...150), random.int(1...(round < 20 ? 400 : 1600)))
            let stride = k + random.int(0...5), type = round % 2 == 0 ? MORU_F32 : MORU_BF16
            var values = random.floats(rows * stride, round % 4 < 2 ? -0.2...3 : -2...2)
            if round == 5 { for i in 0..<k { values[i] = 0 } }
            let x = Activations(values, type: type), weights = random.floats(n * k)
            let w = weights.withUnsafeBytes { Array($0) }
            let split =
                min(n, random.int(0...3) * Int(MORU_BYTE_COLUMNS)) / Int(MORU_BYTE_COLUMNS)
                * Int(MORU_BYTE_COLUMNS)
            let b = Self.packed(w, MORU_F32, n: n, k: k, split: split)
            let addend = round % 3 == 0 ? random.floats(rows * n) : nil
            func run(_ level: Level) -> [Float] {
                let a = Self.rounded(level, x, rows: rows, k: k, stride: stride)
                return Self.product(level, a, b, rows: 0..<rows, n: n, k: k, split: split, adding: addend)
            }
            let found = run(level)
            expectEqual(found, run(Level.all[0]), "\(rows)x\(n)x\(k)")
            var expected: [Double] = [], largest = 1e-6
            for row in 0..<rows {
                for column in 0..<n {
                    var sum = addend.map { Double($0[row * n + column]) } ?? 0, magnitude = 0.0
                    for i in 0..<k {
                        let term = Double(x.floats[row * stride + i]) * Double(weights[column * k + i])
                        sum += term
                        magnitude += abs(term)
                    }
                    expected.append(sum)
                    largest = max(largest, magnitude)
                }
            }
            // Half a step of an activation is a five-hundredth of its group's range, of a weight a 254th of the largest
            expectClose(found, expected, tolerance: 1.3e-2, scale: largest, "\(rows)x\(n)x\(k)")
        }
    }

    @Test("A row depends on no other row, bit for bit", arguments: Level.all + Level.emulated)
    func rowInvariance(_ level: Level) {
        var random = Random(32)
        let (rows, n, k) = (53, 100, 300)
        let x = Activations(random.floats(rows * k), type: MORU_F32),
            w = random.floats(n * k).withUnsafeBytes { Array($0) }
        let b = Self.packed(w, MORU_F32, n: n, k: k, split: 48)
        let a = Self.rounded(level, x, rows: rows, k: k, stride: k)
        let whole = Self.product(level, a, b, rows: 0..<rows, n: n, k: k)
        for count in [1, 3, 8, 17, 33] {
            for row in stride(from: 0, through: rows - count, by: count) {
                let alone = Self.product(level, a, b, rows: row..<row + count, n: n, k: k, split: 96)
                expectEqual(alone, Array(whole[row * n..<(row + count) * n]), "\(count) rows from \(row) on")
            }
        }
    }

    @Test("Extremes overflow nothing, and what is not a number stays none", arguments: Level.all + Level.emulated)
    func extremes(_ level: Level) {
        let (n, k) = (50, 1600)
        let w = [Float](repeating: -1, count: n * k).withUnsafeBytes { Array($0) }
        let b = Self.packed(w, MORU_F32, n: n, k: k, split: 0)
        var values = [Float](repeating: 3e30, count: k) + [Float](repeating: .leastNonzeroMagnitude, count: k)
        for bad in [Float.nan, .infinity, -.infinity] {
            values += [Float](repeating: 1, count: k)
            values[values.count - 70] = bad
        }
        for copies in [1, 4] {
            let rows = 5 * copies, x = Activations((0..<copies).flatMap { _ in values }, type: MORU_F32)
            let a = Self.rounded(level, x, rows: rows, k: k, stride: k)
            let y = Self.product(level, a, b, rows: 0..<rows, n: n, k: k)
            for start in stride(from: 0, to: rows * n, by: 5 * n) {
                let large = [Double](repeating: -3e30 * Double(k), count: n)
                expectClose(Array(y[start..<start + n]), large, tolerance: 1e-5, scale: 0)
                let none = [Double](repeating: 0, count: n)
                expectClose(Array(y[start + n..<start + 2 * n]), none, tolerance: 1e-30)
                #expect(y[(start + 2 * n)..<(start + 5 * n)].allSatisfy { $0.isNaN })
            }
        }
    }

    @Test("Weights of every format are packed as their numbers", arguments: allFormats)
    func formats(_ format: moru_dtype) {
        var random = Random(33)
        let (n, k) = (50, 512), w = random.weights(format, count: n * k)
        let wide = dequantized(format, w, count: n * k).withUnsafeBytes { Array($0) }
        let (found, expected) = (
            Self.packed(w, format, n: n, k: k, split: 48), Self.packed(wide, MORU_F32, n: n, k: k, split: 0)
        )
        #expect(found.bytes.elementsEqual(expected.bytes))
    }

    @Test("Tiles take sixteen rows or more", arguments: Level.emulated)
    func tiles(_ level: Level) throws {
        let tiles = try #require(level.tiles)
        var random = Random(34)
        let (n, k) = (60, 200), x = Activations(random.floats(16 * k), type: MORU_F32)
        let b = Self.packed(random.floats(n * k).withUnsafeBytes { Array($0) }, MORU_F32, n: n, k: k, split: 48)
        let a = Self.rounded(level, x, rows: 16, k: k, stride: k)
        var before = tiles.products()
        _ = Self.product(level, a, b, rows: 0..<15, n: n, k: k)
        #expect(tiles.products() == before)
        before = tiles.products()
        _ = Self.product(level, a, b, rows: 0..<16, n: n, k: k)
        // Two slivers of three tiles, by four steps of 64
        #expect(tiles.products() == before + 2 * 3 * 4)
    }

    @Test("Only fast kernels are said to be there")
    func levels() {
        #expect(Level.all.allSatisfy { $0.bytes.is_fast == $0.name.contains("vnni") })
    }
}
