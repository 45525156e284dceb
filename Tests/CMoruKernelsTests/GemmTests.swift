import CMoruKernels
import MoruTestKit
import Testing

@Suite("Matrix products")
struct GemmTests {
    /// One random product at every level, checked against a sum in double precision, with B as it is or packed ahead.
    func check(
        _ random: inout Random, m: Int, n: Int, k: Int, format: moru_dtype, transposed: Bool,
        aTransposed: Bool, bf16: Bool, narrowA: Bool = false, narrowC: Bool = false
    ) {
        let unit = moru_block_elements(format)
        let rows = transposed ? n : k, columns = transposed ? k : n
        let b = random.weights(format, count: rows * columns)
        let wide = dequantized(format, b, count: rows * columns)
        let a = Activations(random.floats(m * k), type: narrowA ? MORU_BF16 : MORU_F32)
        let start = Activations(random.floats(m * n), type: narrowC ? MORU_BF16 : MORU_F32)
        let alpha = Float(0.75), accumulate = random.bool()
        var expected = [Double](repeating: 0, count: m * n)
        var largest = 0.0
        for i in 0..<m {
            for j in 0..<n {
                var sum = 0.0, magnitude = 0.0
                for p in 0..<k {
                    let left = Double(aTransposed ? a.floats[p * m + i] : a.floats[i * k + p])
                    let right = Double(transposed ? wide[j * k + p] : wide[p * n + j])
                    sum += left * right
                    magnitude += abs(left * right)
                }
                expected[i * n + j] = Double(alpha) * sum + (accumulate ? Double(start.floats[i * n + j]) : 0)
                largest = max(largest, magnitude)
            }
        }
        let mSplit = m == 0 ? 0 : random.int(0...m), packsAhead = random.bool()
        let nSplit = packsAhead ? random.int(0...n) / 64 * 64 : n == 0 ? 0 : random.int(0...n)
        for level in Level.allWithEmulated {
            var c = start.bytes
            b.withUnsafeBytes { bBytes in
                a.bytes.withUnsafeBytes { aBytes in
                    c.withUnsafeMutableBytes { cBytes in
                        var args = moru_gemm()
                        (args.m, args.n, args.k) = (m, n, k)
                        (args.a, args.a_type) = (aBytes.baseAddress, a.type)
                        (args.a_row_stride, args.a_column_stride) = aTransposed ? (1, m) : (k, 1)
                        (args.b, args.b_type, args.b_transposed) = (bBytes.baseAddress, format, transposed)
                        args.b_row_bytes = columns / unit * moru_block_bytes(format)
                        (args.c, args.c_type, args.c_row_stride) = (cBytes.baseAddress, start.type, n)
                        (args.alpha, args.accumulate, args.allow_bf16) = (alpha, accumulate, bf16)
                        let packedBytes = packsAhead ? level.functions.gemm_packed_bytes(&args) : 0
                        let packed = UnsafeMutableRawPointer.allocate(byteCount: packedBytes + 64, alignment: 64)
                        defer { packed.deallocate() }
                        // Parts, as threads would share the work.
                        withScratch(level.functions.gemm_scratch_bytes(&args)) { scratch in
                            if packedBytes > 0 {
                                level.functions.gemm_pack(&args, nSplit, n, packed, scratch)
                                level.functions.gemm_pack(&args, 0, nSplit, packed, scratch)
                                (args.packed_b, args.b) = (UnsafeRawPointer(packed), nil)
                            }
                            level.functions.gemm(&args, 0, mSplit, 0, nSplit, scratch)
                            level.functions.gemm(&args, 0, mSplit, nSplit, n, scratch)
                            level.functions.gemm(&args, mSplit, m, 0, n, scratch)
                        }
                    }
                }
            }
            #expect(level.isReleased)
            // bf16 keeps 8 bits of each factor; the errors of a long sum mostly cancel.
            expectClose(
                Activations(bytes: c, type: start.type).floats, expected,
                tolerance: bf16 && level.hasBF16 ? 8e-3 : narrowC ? 4e-3 : 2e-6, scale: largest + 1e-3,
                "\(level.name) \(m)x\(n)x\(k) \(format) b\(transposed ? "T" : "") a\(aTransposed ? "T" : "")")
        }
    }

    @Test("Random shapes in every format", arguments: allFormats)
    func shapes(_ format: moru_dtype) {
        var random = Random(UInt64(format.rawValue) + 1)
        let unit = moru_block_elements(format)
        for round in 0..<16 {
            let transposed = round % 2 == 0
            var n = random.int(1...70), k = random.int(1...200)
            if transposed { k = (k + unit - 1) / unit * unit } else { n = (n + unit - 1) / unit * unit }
            check(
                &random, m: random.int(1...45), n: n, k: k, format: format, transposed: transposed,
                aTransposed: random.bool(), bf16: round % 4 > 1, narrowA: random.bool(), narrowC: random.bool())
        }
    }

    @Test("Sizes beyond one block of the cache, and degenerate ones")
    func extremes() {
        var random = Random(99)
        for bf16 in [false, true] {
            for transposed in [false, true] {
                for (m, n, k) in [(1, 1, 1), (0, 5, 3), (3, 0, 4), (4, 5, 0), (15, 33, 1), (2, 1040, 7)] {
                    check(
                        &random, m: m, n: n, k: k, format: MORU_F32, transposed: transposed,
                        aTransposed: random.bool(), bf16: bf16)
                }
                check(
                    &random, m: 300, n: 40, k: 600, format: MORU_F32, transposed: transposed,
                    aTransposed: transposed, bf16: bf16)
                check(
                    &random, m: 1030, n: 5, k: 545, format: MORU_BF16, transposed: transposed,
                    aTransposed: !transposed, bf16: bf16, narrowA: true, narrowC: true)
                check(
                    &random, m: 9, n: 608, k: 544, format: MORU_Q4_1, transposed: transposed, aTransposed: false,
                    bf16: bf16)
            }
        }
    }

    @Test(
        "A row's result does not depend on the rows beside it, bit for bit", arguments: Level.all + Level.emulated,
        [(50, true, false), (9, true, false), (50, false, false), (64, false, false), (50, true, true)])
    func rowInvariance(_ level: Level, _ shape: (n: Int, transposed: Bool, bf16: Bool)) {
        var random = Random(5)
        let m = 40, n = shape.n, k = 300
        let a = random.floats(m * k), b = random.floats(n * k)
        func product(rows: Int) -> [Float] {
            var c = [Float](repeating: 0, count: rows * n)
            a.withUnsafeBufferPointer { a in
                b.withUnsafeBytes { b in
                    c.withUnsafeMutableBufferPointer { c in
                        var args = moru_gemm()
                        (args.m, args.n, args.k, args.alpha) = (rows, n, k, 1)
                        (args.a, args.a_row_stride, args.a_column_stride) = (UnsafeRawPointer(a.baseAddress), k, 1)
                        (args.b, args.b_row_bytes) = (b.baseAddress, (shape.transposed ? k : n) * 4)
                        (args.b_transposed, args.allow_bf16) = (shape.transposed, shape.bf16)
                        (args.c, args.c_row_stride) = (UnsafeMutableRawPointer(c.baseAddress), n)
                        withScratch(level.functions.gemm_scratch_bytes(&args)) {
                            level.functions.gemm(&args, 0, rows, 0, n, $0)
                        }
                    }
                }
            }
            return c
        }
        let whole = product(rows: m)
        for rows in [1, 2, 13, 14, 15, 29] {
            expectEqual(product(rows: rows), Array(whole[0..<rows * n]))
        }
    }

    @Test("Whole numbers have exact products, in bf16 too", arguments: Level.all + Level.emulated)
    func wholeNumbers(_ level: Level) {
        var random = Random(7)
        var tileProducts = level.tiles?.products() ?? 0
        for round in 0..<12 {
            let (m, n, k) = (random.int(1...90), random.int(17...90), random.int(32...(round < 10 ? 300 : 1300)))
            let a = (0..<m * k).map { _ in Float(random.int(-8...8)) }
            let b = (0..<n * k).map { _ in Float(random.int(-8...8)) }
            let aTransposed = round % 2 == 0, bTransposed = round % 3 == 0
            func product(_ level: Level) -> [Float] {
                var c = [Float](repeating: .nan, count: m * n)
                a.withUnsafeBytes { a in
                    b.withUnsafeBytes { b in
                        c.withUnsafeMutableBytes { c in
                            var args = moru_gemm()
                            (args.m, args.n, args.k, args.alpha) = (m, n, k, 1)
                            (args.a, args.b, args.c) = (a.baseAddress, b.baseAddress, c.baseAddress)
                            (args.a_row_stride, args.a_column_stride) = aTransposed ? (1, m) : (k, 1)
                            (args.b_row_bytes, args.b_transposed) = ((bTransposed ? k : n) * 4, bTransposed)
                            (args.c_row_stride, args.allow_bf16) = (n, true)
                            withScratch(level.functions.gemm_scratch_bytes(&args)) {
                                level.functions.gemm(&args, 0, m, 0, n, $0)
                            }
                        }
                    }
                }
                return c
            }
            expectEqual(product(level), product(Level.all[0]), "\(m)x\(n)x\(k)")
            guard let tiles = level.tiles else { continue }
            let now = tiles.products()
            #expect(now > tileProducts, "no tile was used")
            tileProducts = now
        }
    }
}
