import CMoruKernels
import Foundation
import MoruTestKit
import Testing

@Suite("Softmax and cross-entropy")
struct SoftmaxTests {
    static let sizes = [1, 2, 7, 16, 17, 33, 100, 1000, 9001]

    @Test("Softmax and its gradient", arguments: Level.all, sizes)
    func softmax(_ level: Level, _ dim: Int) {
        var random = Random(UInt64(dim))
        let rows = 3, count = rows * dim
        var x = random.floats(count, -20...20)
        for i in 0..<dim where i % 5 == 1 { x[i] = -.infinity }
        x[dim] = 1e30  // a huge logit takes everything
        var y = [Float](repeating: 7, count: count)
        level.functions.softmax(x, &y, dim, 0, rows)
        var expected: [Double] = []
        for row in 0..<rows {
            let v = doubles(Array(x[row * dim..<(row + 1) * dim]))
            let largest = v.max() ?? 0
            let sum = v.reduce(0) { $0 + exp($1 - largest) }
            expected += v.map { exp($0 - largest) / sum }
        }
        expectClose(y, expected, tolerance: 2e-6, scale: 0.001)
        let dy = random.floats(count)
        var dx = [Float](repeating: 7, count: count)
        level.functions.softmax_backward(dy, y, &dx, dim, 0, rows)
        var expectedDX: [Double] = []
        for row in 0..<rows {
            let sum = (row * dim..<(row + 1) * dim).reduce(0.0) { $0 + Double(dy[$1]) * Double(y[$1]) }
            expectedDX += (row * dim..<(row + 1) * dim).map { Double(y[$0]) * (Double(dy[$0]) - sum) }
        }
        expectClose(dx, expectedDX, tolerance: 2e-6)
    }

    @Test("Rows of -inf become zeros, a NaN stays visible, and it works in place", arguments: Level.all)
    func edges(_ level: Level) {
        for dim in [1, 5, 40, 100] {
            var x = [Float](repeating: -.infinity, count: 2 * dim)
            for i in dim..<2 * dim { x[i] = Float(i) }
            x[2 * dim - 1] = .nan
            x.withUnsafeMutableBufferPointer { level.functions.softmax($0.baseAddress, $0.baseAddress, dim, 0, 2) }
            #expect(x[0..<dim].allSatisfy { $0 == 0 })
            #expect(x[dim..<2 * dim].contains { $0.isNaN })
        }
    }

    @Test("Cross-entropy, ignored targets, and the gradient in place", arguments: Level.all, sizes)
    func crossEntropy(_ level: Level, _ dim: Int) {
        var random = Random(UInt64(dim) + 5)
        let rows = 5, scale: Float = 0.25
        var logits = random.floats(rows * dim, -15...15)
        logits[dim / 2] = 5000
        var targets = (0..<rows).map { _ in Int32(random.int(0...dim - 1)) }
        targets[2] = -100
        var losses = [Float](repeating: 7, count: rows), gradient = [Float](repeating: 7, count: rows * dim)
        level.functions.cross_entropy(logits, targets, scale, &losses, &gradient, dim, 0, rows)
        var expectedLosses: [Double] = [], expected: [Double] = []
        for row in 0..<rows {
            let v = doubles(Array(logits[row * dim..<(row + 1) * dim])), target = Int(targets[row])
            let largest = v.max() ?? 0
            let logSum = largest + log(v.reduce(0) { $0 + exp($1 - largest) })
            expectedLosses.append(target < 0 ? 0 : logSum - v[target])
            expected += v.indices.map {
                target < 0 ? 0 : (exp(v[$0] - logSum) - ($0 == target ? 1 : 0)) * Double(scale)
            }
        }
        expectClose(losses, expectedLosses, tolerance: 2e-6)
        expectClose(gradient, expected, tolerance: 1e-6)
        var alone = [Float](repeating: 7, count: rows)
        level.functions.cross_entropy(logits, targets, scale, &alone, nil, dim, 0, rows)
        expectEqual(alone, losses)
        var inPlace = logits
        inPlace.withUnsafeMutableBufferPointer {
            level.functions.cross_entropy($0.baseAddress, targets, scale, &alone, $0.baseAddress, dim, 0, rows)
        }
        #expect(alone == losses && inPlace == gradient)
    }
}
