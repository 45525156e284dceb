import CMoruKernels
import MoruTestKit
import Testing

@Suite("Low-rank updates of few rows")
struct LowRankTests {
    private struct Update {
        let rows, rank, k, n: Int
        let format: moru_dtype
        let a, b: [UInt8]
        let wideA, wideB: [Double]
        let x, y: [Float]
        let scale: Float

        init(_ random: inout Random, rows: Int, rank: Int, k: Int, n: Int, _ format: moru_dtype) {
            (self.rows, self.rank, self.k, self.n, self.format) = (rows, rank, k, n, format)
            let (first, second) = (random.floats(rank * k), random.floats(n * rank))
            func packed(_ values: [Float], _ columns: Int, _ strides: (rank: Int, column: Int)) -> [UInt8] {
                var bytes = [UInt8](repeating: 0xA5, count: moru_low_rank_bytes(format, rank, columns))
                moru_low_rank_pack(format, values, rank, columns, strides.rank, strides.column, &bytes)
                return bytes
            }
            (a, b) = (packed(first, k, (k, 1)), packed(second, n, (1, rank)))
            (wideA, wideB) = (doubles(rounded(first, format)), doubles(rounded(second, format)))
            (x, y) = (random.floats(rows * k, -2...2), random.floats(rows * n, -2...2))
            scale = random.floats(1)[0] * 3
        }

        /// The inner products and the results of some of the rows, the rank and the columns split.
        func run(_ level: Level, rows range: Range<Int>, rankSplit: Int, split: Int) -> (inner: [Float], y: [Float]) {
            let kernels = moru_low_rank_kernels_for(level.functions.level).pointee
            var inner = [Float](repeating: .nan, count: range.count * rank)
            var result = Array(y[range.lowerBound * n..<range.upperBound * n])
            let own = Array(x[range.lowerBound * k..<range.upperBound * k])
            a.withUnsafeBytes { a in
                b.withUnsafeBytes { b in
                    own.withUnsafeBufferPointer { own in
                        inner.withUnsafeMutableBufferPointer { inner in
                            result.withUnsafeMutableBufferPointer { result in
                                var args = moru_low_rank(
                                    rows: range.count, rank: rank, k: k, n: n, a: a.baseAddress, b: b.baseAddress,
                                    type: format, scale: scale, x: own.baseAddress, x_row_stride: k,
                                    inner: inner.baseAddress, y: result.baseAddress, y_row_stride: n)
                                kernels.inner(&args, 0, rankSplit)
                                kernels.inner(&args, rankSplit, rank)
                                kernels.outer(&args, 0, split)
                                kernels.outer(&args, split, n)
                            }
                        }
                    }
                }
            }
            return (inner, result)
        }
    }

    @Test("Random shapes", arguments: Level.all, [MORU_F32, MORU_BF16])
    func shapes(_ level: Level, _ format: moru_dtype) {
        var random = Random(UInt64(format.rawValue) + 31)
        for round in 0..<16 {
            let (rows, rank) = (random.int(1...9), round < 3 ? [1, 8, 64][round] : random.int(1...21))
            let (k, n) = (random.int(1...150), random.int(1...150))
            let update = Update(&random, rows: rows, rank: rank, k: k, n: n, format)
            let split = random.int(0...(n - 1) / 32) * 32
            let (inner, y) = update.run(level, rows: 0..<rows, rankSplit: random.int(0...rank), split: split)
            var (expectedInner, expected): ([Double], [Double]) = ([], [])
            for row in 0..<rows {
                let products = (0..<rank).map { j in
                    (0..<k).reduce(0.0) { $0 + update.wideA[j * k + $1] * Double(update.x[row * k + $1]) }
                }
                expectedInner += products
                expected += (0..<n).map { column in
                    let sum = (0..<rank).reduce(0.0) { $0 + update.wideB[column * rank + $1] * products[$1] }
                    return Double(update.y[row * n + column]) + Double(update.scale) * sum
                }
            }
            let what = "\(format) \(rows)x\(n)x\(k), rank \(rank)"
            expectClose(inner, expectedInner, tolerance: 5e-5, scale: Double(k), what)
            expectClose(y, expected, tolerance: 5e-5, scale: Double(k * rank), what)
        }
    }

    @Test(
        "A result depends neither on other rows nor on how the work is split", arguments: Level.all,
        [MORU_F32, MORU_BF16])
    func invariance(_ level: Level, _ format: moru_dtype) {
        var random = Random(33)
        for (rank, k, n) in [(8, 576, 192), (13, 71, 77), (3, 5, 33)] {
            let update = Update(&random, rows: 5, rank: rank, k: k, n: n, format)
            let whole = update.run(level, rows: 0..<5, rankSplit: 0, split: 0)
            for split in 0...rank {
                let other = update.run(level, rows: 0..<5, rankSplit: split, split: split % ((n + 31) / 32) * 32)
                #expect(other.inner == whole.inner && other.y == whole.y, "rank \(rank) split at \(split)")
            }
            for row in 0..<5 {
                let alone = update.run(level, rows: row..<row + 1, rankSplit: rank, split: n)
                expectEqual(alone.y, Array(whole.y[row * n..<(row + 1) * n]), "row \(row)")
                expectEqual(alone.inner, Array(whole.inner[row * rank..<(row + 1) * rank]), "row \(row)")
            }
        }
    }
}
