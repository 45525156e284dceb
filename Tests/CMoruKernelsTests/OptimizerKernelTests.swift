import CMoruKernels
import Foundation
import Testing

/// Every level's optimizer steps against their definitions in double precision.
@Suite("Optimizer steps") struct OptimizerKernelTests {
    @Test("Lion", arguments: Level.all) func lion(_ level: Level) {
        var random = Random(21)
        for count in [1, 15, 16, 77] {
            var parameter = random.floats(count), moment = random.floats(count)
            let gradient = random.floats(count)
            var (p, m) = (doubles(parameter), doubles(moment))
            for i in 0..<count {
                let g = 0.5 * Double(gradient[i])
                p[i] = p[i] * (1 - 0.01 * 0.1) - 0.01 * (0.9 * m[i] + 0.1 * g > 0 ? 1 : -1)
                m[i] = 0.99 * m[i] + 0.01 * g
            }
            var args = moru_lion(learning_rate: 0.01, beta1: 0.9, beta2: 0.99, weight_decay: 0.1, gradient_scale: 0.5)
            level.functions.lion(&args, &parameter, gradient, &moment, 0, count)
            expectClose(parameter, p, tolerance: 1e-6)
            expectClose(moment, m, tolerance: 1e-6)
        }
        // no direction, no step
        var (still, zero) = ([Float](repeating: 2, count: 17), [Float](repeating: 0, count: 17))
        var args = moru_lion(learning_rate: 0.01, beta1: 0.9, beta2: 0.99, weight_decay: 0, gradient_scale: 1)
        level.functions.lion(&args, &still, Array(repeating: 0, count: 17), &zero, 0, 17)
        #expect(still == Array(repeating: 2, count: 17))
    }

    @Test("Gradient descent", arguments: Level.all, [true, false]) func sgd(_ level: Level, nesterov: Bool) {
        var random = Random(22)
        for count in [1, 16, 45] {
            var parameter = random.floats(count), moment = random.floats(count), plain = parameter
            let gradient = random.floats(count)
            var (p, m, q) = (doubles(parameter), doubles(moment), doubles(plain))
            for i in 0..<count {
                let g = 0.5 * Double(gradient[i]) + 0.1 * p[i]
                m[i] = 0.9 * m[i] + g
                p[i] -= 0.01 * (nesterov ? g + 0.9 * m[i] : m[i])
                q[i] -= 0.01 * g
            }
            var args = moru_sgd(
                learning_rate: 0.01, momentum: 0.9, weight_decay: 0.1, gradient_scale: 0.5, nesterov: nesterov)
            level.functions.sgd(&args, &parameter, gradient, &moment, 0, count)
            level.functions.sgd(&args, &plain, gradient, nil, 0, count)
            expectClose(parameter, p, tolerance: 1e-6)
            expectClose(moment, m, tolerance: 1e-6)
            expectClose(plain, q, tolerance: 1e-6)
        }
    }

    @Test("Moving towards", arguments: Level.all) func lerp(_ level: Level) {
        var random = Random(23)
        var y = random.floats(39)
        let (x, old) = (random.floats(39), y)
        level.functions.lerp(x, 2, 0.25, &y, 3, 39)
        expectClose(
            y,
            old.indices.map { i in
                i < 3 ? Double(old[i]) : 0.75 * Double(old[i]) + 0.5 * Double(x[i])
            }, tolerance: 1e-6)
    }

    @Test("Adafactor", arguments: Level.all) func adafactor(_ level: Level) {
        var random = Random(24)
        for (rows, columns) in [(1, 1), (3, 16), (5, 37)] {
            let gradient = random.floats(rows * columns)
            var rowSums = [Float](repeating: 0, count: rows), columnSums = [Float](repeating: 1, count: columns)
            level.functions.adafactor_squares(gradient, 0.5, &rowSums, &columnSums, columns, 0, rows)
            let squares = gradient.map { 0.25 * Double($0) * Double($0) }
            expectClose(
                rowSums,
                (0..<rows).map { r in
                    (0..<columns).reduce(0) { $0 + squares[r * columns + $1] }
                }, tolerance: 1e-6)
            expectClose(
                columnSums,
                (0..<columns).map { c in
                    (0..<rows).reduce(1) { $0 + squares[$1 * columns + c] }
                }, tolerance: 1e-6)

            // some elements lie below the least second moment
            let rowVariance = random.floats(rows, 0...1), columnVariance = random.floats(columns, 0...1)
            var parameter = random.floats(rows * columns)
            let updates = gradient.indices.map { i in
                let variance = Double(rowVariance[i / columns]) * Double(columnVariance[i % columns])
                return 0.5 * Double(gradient[i]) / max(variance, 0.09).squareRoot()
            }
            let expected = zip(parameter, updates).map { Double($0) * 0.9 - 0.3 * $1 }
            rowVariance.withUnsafeBufferPointer { rowVariance in
                columnVariance.withUnsafeBufferPointer { columnVariance in
                    var args = moru_adafactor(
                        columns: columns, row_variance: rowVariance.baseAddress,
                        column_variance: columnVariance.baseAddress, epsilon: 0.3, gradient_scale: 0.5)
                    let norm = level.functions.adafactor_norm(&args, gradient, 0, rows)
                    let wanted = updates.reduce(0) { $0 + $1 * $1 }
                    #expect(abs(norm - wanted) <= 1e-5 * wanted)
                    level.functions.adafactor_step(&args, &parameter, gradient, 0.9, 0.3, 0, rows)
                }
            }
            expectClose(parameter, expected, tolerance: 2e-6)
        }
    }
}
