import CMoruKernels
import Testing

@Suite("Products with few rows")
struct MatvecTests {
    func product(
        _ level: Level, _ format: moru_dtype, weights: [UInt8], x: [Float], rows: Int, n: Int, k: Int, split: Int
    ) -> [Float] {
        let bytes = level.functions.activation_bytes(format, k)
        var prepared = [UInt8](repeating: 0xA5, count: max(1, bytes * rows))
        prepared.withUnsafeMutableBytes { memory in
            for row in 0..<rows {
                x.withUnsafeBufferPointer {
                    guard let from = $0.baseAddress, let to = memory.baseAddress else { return }
                    level.functions.prepare_activation(format, from + row * k, k, to + row * bytes)
                }
            }
        }
        var y = [Float](repeating: .nan, count: rows * n)
        prepared.withUnsafeBytes { prepared in
            weights.withUnsafeBytes { weights in
                y.withUnsafeMutableBufferPointer { y in
                    var args = moru_matvec(
                        rows: rows, n: n, k: k, w: weights.baseAddress, w_type: format,
                        w_row_bytes: k / moru_block_elements(format) * moru_block_bytes(format),
                        x: prepared.baseAddress, x_row_bytes: bytes, y: y.baseAddress, y_row_stride: n)
                    level.functions.matvec(&args, 0, split)
                    level.functions.matvec(&args, split, n)
                }
            }
        }
        return y
    }

    /// The activation as it is after rounding to int8 in blocks of 32.
    func rounded(_ x: [Float]) -> [Double] {
        stride(from: 0, to: x.count, by: 32).flatMap { start -> [Double] in
            let block = x[start..<start + 32]
            let largest = block.map(abs).max() ?? 0
            let inverse = largest > 0 ? 127 / largest : 0
            return block.map { Double(($0 * inverse).rounded(.toNearestOrEven)) * Double(largest / 127) }
        }
    }

    @Test("Random shapes in every format", arguments: Level.all, allFormats)
    func shapes(_ level: Level, _ format: moru_dtype) {
        var random = Random(UInt64(format.rawValue) + 11)
        let unit = moru_block_elements(format)
        for round in 0..<14 {
            let blocks = unit == 1 ? random.int(0...150) : random.int(1...(unit == 32 ? 20 : 4))
            let k = blocks * unit, n = random.int(1...9), rows = round < 2 ? 1 : random.int(1...18)
            let weights = random.weights(format, count: n * k)
            let wide = doubles(dequantized(format, weights, count: n * k))
            var x = random.floats(rows * k, -2...2)
            if round == 3 { for i in 0..<min(32, x.count) { x[i] = 0 } }
            let exact = doubles(x), seen = unit == 1 ? exact : rounded(x)
            var expected: [Double] = [], plain: [Double] = []
            var largest = 1e-6
            for row in 0..<rows {
                for column in 0..<n {
                    var sum = 0.0, plainSum = 0.0, magnitude = 0.0
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
            let y = product(level, format, weights: weights, x: x, rows: rows, n: n, k: k, split: random.int(0...n))
            // The minima of a format are summed apart from its levels, so rounding errors scale with both.
            expectClose(y, expected, tolerance: 5e-5, scale: largest, "\(format) \(rows)x\(n)x\(k)")
            expectClose(y, plain, tolerance: 6e-3, scale: largest, "\(format) against exact activations")
        }
    }

    @Test("A row's result does not depend on the rows beside it, bit for bit", arguments: Level.all, allFormats)
    func rowInvariance(_ level: Level, _ format: moru_dtype) {
        var random = Random(21)
        let k = moru_block_elements(format) == 256 ? 512 : 576, n = 5, rows = 15
        let weights = random.weights(format, count: n * k), x = random.floats(rows * k)
        let whole = product(level, format, weights: weights, x: x, rows: rows, n: n, k: k, split: 2)
        for row in 0..<rows {
            let own = Array(x[row * k..<(row + 1) * k])
            let alone = product(level, format, weights: weights, x: own, rows: 1, n: n, k: k, split: 0)
            #expect(alone == Array(whole[row * n..<(row + 1) * n]), "row \(row)")
        }
    }
}
