import CMoruKernels
import MoruTestKit
import Testing

@Suite("Products with packed quantised weights")
struct PackedTests {
    static let formats = allFormats.filter { moru_can_pack($0) }
    static let panel = Int(MORU_PANEL)

    /// Weights [n, k] in their own format, and packed in two parts.
    struct Matrix {
        let format: moru_dtype
        let n, k: Int
        let bytes: [UInt8]
        let packed: UnsafeMutableRawBufferPointer

        init(_ format: moru_dtype, n: Int, k: Int, random: inout Random) {
            (self.format, self.n, self.k) = (format, n, k)
            bytes = random.weights(format, count: n * k)
            let count = moru_packed_bytes(format, n, k)
            packed = .allocate(byteCount: count + 64, alignment: 64)
            packed.initializeMemory(as: UInt8.self, repeating: 0xA5)
            let rowBytes = k / moru_block_elements(format) * moru_block_bytes(format)
            let middle = min(n, random.int(0...n / PackedTests.panel) * PackedTests.panel)
            moru_pack(format, bytes, rowBytes, n, k, packed.baseAddress, middle, n)
            moru_pack(format, bytes, rowBytes, n, k, packed.baseAddress, 0, middle)
            #expect(packed[count...].allSatisfy { $0 == 0xA5 }, "packing writes beyond its end")
        }
    }

    /// Rows [rows, k] as the level rounds them, in two parts.
    func rounded(_ level: Level, _ x: [Float], rows: Int, k: Int, closely: Bool) -> (
        memory: UnsafeMutableRawBufferPointer, stride: Int
    ) {
        let stride = (moru_rounded_bytes(k) + 63) & ~63
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: max(64, rows * stride), alignment: 64)
        memory.initializeMemory(as: UInt8.self, repeating: 0xA5)
        x.withUnsafeBufferPointer { x in
            guard let from = x.baseAddress, let to = memory.baseAddress else { return }
            for row in 0..<rows {
                let (x, out, middle) = (from + row * k, to + row * stride, k / 64 * 32)
                level.functions.round_row(x, k, closely, out, middle, k)
                level.functions.round_row(x, k, closely, out, 0, middle)
            }
        }
        return (memory, stride)
    }

    func product(
        _ level: Level, _ w: Matrix, _ x: [Float], rows: Int, closely: Bool = false, split: Int = 0,
        adding addend: [Float]? = nil
    ) -> [Float] {
        let (memory, stride) = rounded(level, x, rows: rows, k: w.k, closely: closely)
        defer { memory.deallocate() }
        let gap = 3  // between rows of the result
        var y = [Float](repeating: 7, count: rows * (w.n + gap))
        for row in 0..<rows {
            for column in 0..<w.n { y[row * (w.n + gap) + column] = addend?[row * w.n + column] ?? .nan }
        }
        y.withUnsafeMutableBufferPointer { y in
            var args = moru_packed_product(
                rows: rows, n: w.n, k: w.k, w: w.packed.baseAddress, w_type: w.format, x: memory.baseAddress,
                x_row_bytes: stride, y: y.baseAddress, y_row_stride: w.n + gap, accumulate: addend != nil,
                closely: closely, next: w.packed.baseAddress, next_bytes: w.packed.count)
            level.functions.packed_product(&args, 0, split)
            level.functions.packed_product(&args, split, w.n)
        }
        #expect(level.isReleased)
        for row in 0..<rows {
            let between = y[(row * (w.n + gap) + w.n)..<(row + 1) * (w.n + gap)]
            #expect(between.allSatisfy { $0 == 7 }, "written beyond row \(row)")
        }
        return (0..<rows).flatMap { y[$0 * (w.n + gap)..<$0 * (w.n + gap) + w.n] }
    }

    /// The activation as it is after rounding to int8 in blocks of 32: around 0, or closely between the least and the
    /// largest of a block, with 0 among the steps.
    func rounded(_ x: [Float], closely: Bool) -> [Double] {
        stride(from: 0, to: x.count, by: 32).flatMap { start -> [Double] in
            let block = x[start..<start + 32]
            let low = max(0, -(block.min() ?? 0)), high = max(0, block.max() ?? 0)
            let range = closely ? low + high : max(low, high), steps: Float = closely ? 254 : 127
            let inverse = range > 0 ? steps / range : 0
            let zero = closely ? (low * inverse).rounded(.toNearestOrEven) - 127 : 0
            return block.map { value in
                let q = zero.addingProduct(value, inverse).rounded(.toNearestOrEven)
                return Double(min(127, max(-127, q)) - zero) * Double(range / steps)
            }
        }
    }

    @Test("Random shapes in every format", arguments: Level.allWithEmulated, formats)
    func shapes(_ level: Level, _ format: moru_dtype) {
        var random = Random(UInt64(format.rawValue) + 11)
        let unit = moru_block_elements(format)
        for round in 0..<20 {
            let closely = round >= 10, round = round % 10
            // The last two go through several parts of k
            let k = round < 8 ? unit * random.int(1...(unit == 32 ? 20 : 3)) : 256 * random.int(4...7)
            let n = round < 8 ? random.int(1...70) : random.int(1...20)
            let rows = round < 2 ? 1 : round % 4 == 0 ? random.int(16...40) : random.int(1...15)
            let w = Matrix(format, n: n, k: k, random: &random)
            defer { w.packed.deallocate() }
            let wide = doubles(dequantized(format, w.bytes, count: n * k))
            var x = random.floats(rows * k, -2...2)
            if round == 3 { for i in 0..<32 { x[i] = 0 } }
            if round == 4 { for i in 0..<k / 32 { x[32 * i + 7] = i % 2 == 0 ? 12 : -12 } }
            let exact = doubles(x), seen = rounded(x, closely: closely)
            let addend = round % 3 == 0 ? random.floats(rows * n) : nil
            var expected: [Double] = [], plain: [Double] = []
            var largest = 1e-6
            for row in 0..<rows {
                for column in 0..<n {
                    var sum = addend.map { Double($0[row * n + column]) } ?? 0
                    var plainSum = sum, magnitude = 0.0
                    for p in 0..<k {
                        sum += wide[column * k + p] * seen[row * k + p]
                        plainSum += wide[column * k + p] * exact[row * k + p]
                        magnitude += abs(wide[column * k + p] * exact[row * k + p])
                    }
                    expected.append(sum)
                    plain.append(plainSum)
                    largest = max(largest, magnitude)
                }
            }
            let split = min(n, random.int(0...5) * Self.panel)
            let y = product(level, w, x, rows: rows, closely: closely, split: split, adding: addend)
            // The minima of a format are summed apart from its levels, so rounding errors scale with both.
            expectClose(y, expected, tolerance: 5e-5, scale: largest, "\(format) \(rows)x\(n)x\(k) \(closely)")
            expectClose(y, plain, tolerance: 6e-3, scale: largest, "\(format) against exact activations")
        }
    }

    @Test(
        "A row's result depends on no other row, whatever their number, bit for bit",
        arguments: Level.allWithEmulated, formats)
    func rowInvariance(_ level: Level, _ format: moru_dtype) {
        var random = Random(21)
        let k = moru_block_elements(format) == 256 ? 1024 : 1120, n = 37, rows = 17
        let w = Matrix(format, n: n, k: k, random: &random), x = random.floats(rows * k)
        defer { w.packed.deallocate() }
        for closely in [false, true] {
            let whole = product(level, w, x, rows: rows, closely: closely, split: 16)
            for count in [1, 2, 7] {
                for row in stride(from: 0, through: rows - count, by: count) {
                    let some = Array(x[row * k..<(row + count) * k])
                    let alone = product(level, w, some, rows: count, closely: closely)
                    expectEqual(alone, Array(whole[row * n..<(row + count) * n]), "\(count) rows from \(row) on")
                }
            }
        }
    }

    @Test("More rows than the cache holds of activations, and steps too small to divide by", arguments: Level.all)
    func manyRows(_ level: Level) {
        var random = Random(22)
        let k = 2048, n = 16, rows = 200
        let w = Matrix(MORU_Q4_1, n: n, k: k, random: &random)
        defer { w.packed.deallocate() }
        var x = random.floats(rows * k)
        for i in 0..<64 { x[i] = (i % 2 == 0 ? 7 : -7) * Float.leastNonzeroMagnitude }
        let whole = product(level, w, x, rows: rows, closely: true)
        #expect(whole.allSatisfy { $0.isFinite })
        for row in [0, 100, 199] {
            let alone = product(level, w, Array(x[row * k..<(row + 1) * k]), rows: 1, closely: true)
            expectEqual(alone, Array(whole[row * n..<(row + 1) * n]))
        }
    }

    @Test("Levels with the same integer sums give the same bits", arguments: Level.allWithEmulated, formats)
    func levelsAgree(_ level: Level, _ format: moru_dtype) {
        var random = Random(5)
        let w = Matrix(format, n: 33, k: 1024, random: &random), x = random.floats(50 * 1024)
        defer { w.packed.deallocate() }
        for (rows, closely) in [(3, false), (50, false), (3, true), (50, true)] {
            let reference = product(Level.all[0], w, x, rows: rows, closely: closely)
            expectEqual(product(level, w, x, rows: rows, closely: closely), reference)
        }
    }

    @Test("Extreme levels and activations overflow nothing", arguments: Level.allWithEmulated, formats)
    func extremes(_ level: Level, _ format: moru_dtype) {
        var random = Random(6)
        let k = 512, n = 16
        var w = Matrix(format, n: n, k: k, random: &random)
        w.packed.deallocate()
        let size = moru_block_bytes(format)
        for fill in [0x00, 0x80, 0xFF] as [UInt8] {
            // Every level at its least or most, with scales that are no NaN
            var bytes = [UInt8](repeating: fill, count: w.bytes.count)
            for block in 0..<bytes.count / size {
                for at in 0..<size where w.isScale(at) { bytes[block * size + at] = at % 2 == 0 ? 0 : 0x2C }
            }
            w = Matrix(format, bytes: bytes, n: n, k: k)
            defer { w.packed.deallocate() }
            let wide = doubles(dequantized(format, bytes, count: k))
            for sign in [-1, 1] as [Float] {
                let x = [Float](repeating: sign, count: 16 * k)
                let expected = wide.reduce(0) { $0 + $1 * Double(sign) }
                let scale = wide.reduce(1e-6) { $0 + abs($1) }
                for closely in [false, true] {
                    let y = product(level, w, x, rows: 16, closely: closely)
                    expectClose(
                        y, [Double](repeating: expected, count: 16 * n), tolerance: 1e-5, scale: scale,
                        "\(fill) \(sign)")
                }
            }
        }
    }

    @Test("What is not a number stays none", arguments: Level.allWithEmulated)
    func notANumber(_ level: Level) {
        var random = Random(8)
        let w = Matrix(MORU_Q4_1, n: 20, k: 96, random: &random)
        defer { w.packed.deallocate() }
        for bad in [Float.nan, .infinity, -.infinity] {
            var x = random.floats(16 * 96)
            x[40] = bad
            for closely in [false, true] {
                let y = product(level, w, x, rows: 16, closely: closely)
                #expect(y[..<20].allSatisfy { !$0.isFinite })
                #expect(y[20...].allSatisfy { $0.isFinite })
            }
        }
    }

    @Test("Dense formats cannot be packed")
    func dense() {
        #expect(allFormats.filter { !moru_can_pack($0) } == [MORU_F32, MORU_F16, MORU_BF16])
        #expect(moru_packed_bytes(MORU_F32, 16, 32) == 0)
        #expect(moru_packed_bytes(MORU_Q4_1, 17, 64) == 2 * 16 * 2 * 20)
    }
}

extension PackedTests.Matrix {
    init(_ format: moru_dtype, bytes: [UInt8], n: Int, k: Int) {
        (self.format, self.n, self.k, self.bytes) = (format, n, k, bytes)
        packed = .allocate(byteCount: moru_packed_bytes(format, n, k), alignment: 64)
        let rowBytes = k / moru_block_elements(format) * moru_block_bytes(format)
        moru_pack(format, bytes, rowBytes, n, k, packed.baseAddress, 0, n)
    }

    /// Whether a byte of a block belongs to its half-precision scale or minimum.
    func isScale(_ at: Int) -> Bool {
        switch format {
        case MORU_Q4_0, MORU_Q5_0, MORU_Q8_0: at < 2
        case MORU_Q4_1, MORU_Q5_1, MORU_Q4_K, MORU_Q5_K: at < 4
        case MORU_Q2_K: at >= 80
        case MORU_Q3_K: at >= 108
        default: at >= 208
        }
    }
}
