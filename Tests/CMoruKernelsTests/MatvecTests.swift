import CMoruKernels
import MoruTestKit
import Testing

/// Few rows against dense weights; quantised ones: PackedTests.
@Suite("Products with few rows")
struct MatvecTests {
    func product(
        _ level: Level, _ format: moru_dtype, weights: [UInt8], x: [Float], rows: Int, n: Int, k: Int, split: Int
    ) -> [Float] {
        var y = [Float](repeating: .nan, count: rows * n)
        x.withUnsafeBytes { x in
            weights.withUnsafeBytes { weights in
                y.withUnsafeMutableBufferPointer { y in
                    var args = moru_matvec(
                        rows: rows, n: n, k: k, w: weights.baseAddress, w_type: format,
                        w_row_bytes: k * moru_block_bytes(format), x: x.baseAddress, x_row_bytes: k * 4,
                        y: y.baseAddress, y_row_stride: n)
                    level.functions.matvec(&args, 0, split)
                    level.functions.matvec(&args, split, n)
                }
            }
        }
        return y
    }

    @Test("Random shapes in every dense format", arguments: Level.all, [MORU_F32, MORU_F16, MORU_BF16])
    func shapes(_ level: Level, _ format: moru_dtype) {
        var random = Random(UInt64(format.rawValue) + 11)
        for round in 0..<14 {
            let k = random.int(0...150), n = random.int(1...40), rows = round < 2 ? 1 : random.int(1...18)
            let weights = random.weights(format, count: n * k)
            let wide = doubles(dequantized(format, weights, count: n * k))
            let x = random.floats(rows * k, -2...2)
            var expected: [Double] = []
            var largest = 1e-6
            for row in 0..<rows {
                for column in 0..<n {
                    let products = (0..<k).map { wide[column * k + $0] * Double(x[row * k + $0]) }
                    expected.append(products.reduce(0, +))
                    largest = max(largest, products.reduce(0) { $0 + abs($1) })
                }
            }
            let y = product(level, format, weights: weights, x: x, rows: rows, n: n, k: k, split: random.int(0...n))
            expectClose(y, expected, tolerance: 5e-5, scale: largest, "\(format) \(rows)x\(n)x\(k)")
        }
    }

    @Test(
        "A column's result does not depend on the columns beside it, bit for bit", arguments: Level.all,
        [MORU_F32, MORU_F16, MORU_BF16])
    func columnInvariance(_ level: Level, _ format: moru_dtype) {
        var random = Random(22)
        for k in [1, 4, 7, 8, 16, 17, 32, 64, 65] {
            let n = 37, rows = 3
            let weights = random.weights(format, count: n * k), x = random.floats(rows * k)
            let whole = product(level, format, weights: weights, x: x, rows: rows, n: n, k: k, split: 18)
            let rowBytes = k * moru_block_bytes(format)
            for column in 0..<n {
                let own = Array(weights[column * rowBytes..<(column + 1) * rowBytes])
                let alone = product(level, format, weights: own, x: x, rows: rows, n: 1, k: k, split: 0)
                expectEqual(alone, (0..<rows).map { whole[$0 * n + column] }, "k \(k), column \(column)")
            }
        }
    }

    @Test(
        "A row's result does not depend on the rows beside it, bit for bit", arguments: Level.all,
        [MORU_F32, MORU_F16, MORU_BF16])
    func rowInvariance(_ level: Level, _ format: moru_dtype) {
        var random = Random(21)
        let k = 576, n = 5, rows = 15
        let weights = random.weights(format, count: n * k), x = random.floats(rows * k)
        let whole = product(level, format, weights: weights, x: x, rows: rows, n: n, k: k, split: 2)
        for row in 0..<rows {
            let own = Array(x[row * k..<(row + 1) * k])
            let alone = product(level, format, weights: weights, x: own, rows: 1, n: n, k: k, split: 0)
            expectEqual(alone, Array(whole[row * n..<(row + 1) * n]), "row \(row)")
        }
    }
}
