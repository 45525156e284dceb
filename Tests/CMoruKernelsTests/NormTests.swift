import CMoruKernels
import Foundation
import MoruTestKit
import Testing

@Suite("Normalisation and rotary embedding")
struct NormTests {
    static let sizes = [1, 2, 7, 8, 15, 16, 17, 31, 33, 64, 100, 576]

    @Test("RMS normalisation and its gradient", arguments: Level.all, sizes)
    func rms(_ level: Level, _ dim: Int) {
        var random = Random(UInt64(dim))
        let rows = 4, count = rows * dim, epsilon: Float = 1e-5
        let x = random.floats(count, -3...3), w = random.floats(dim, 0.5...2), dy = random.floats(count)
        let start = random.floats(dim)
        var y = [Float](repeating: 7, count: count), inverse = [Float](repeating: 7, count: rows)
        level.functions.rms_norm(x, w, epsilon, &y, &inverse, dim, 1, rows)
        level.functions.rms_norm(x, w, epsilon, &y, &inverse, dim, 0, 1)
        var dx = [Float](repeating: 7, count: count), dw = start
        level.functions.rms_norm_backward(dy, x, w, inverse, &dx, &dw, dim, 0, rows)
        var expectedY: [Double] = [], expectedInverse: [Double] = [], expectedDX: [Double] = []
        var expectedDW = doubles(start)
        for row in 0..<rows {
            let v = doubles(Array(x[row * dim..<(row + 1) * dim])), g = doubles(Array(dy[row * dim..<(row + 1) * dim]))
            let r = 1 / (v.reduce(0) { $0 + $1 * $1 } / Double(dim) + Double(epsilon)).squareRoot()
            expectedInverse.append(r)
            let mean = (0..<dim).reduce(0.0) { $0 + g[$1] * Double(w[$1]) * v[$1] } / Double(dim)
            for i in 0..<dim {
                expectedY.append(v[i] * r * Double(w[i]))
                expectedDX.append(r * (g[i] * Double(w[i]) - v[i] * r * r * mean))
                expectedDW[i] += g[i] * v[i] * r
            }
        }
        expectClose(y, expectedY, tolerance: 2e-6)
        expectClose(inverse, expectedInverse, tolerance: 2e-6)
        expectClose(dx, expectedDX, tolerance: 5e-6)
        expectClose(dw, expectedDW, tolerance: 5e-6)
        var plain = [Float](repeating: 7, count: count)
        level.functions.rms_norm_backward(dy, x, w, inverse, &plain, nil, dim, 0, rows)
        expectClose(plain, doubles(dx), tolerance: 1e-6)
        level.functions.rms_norm(x, w, epsilon, &plain, nil, dim, 0, rows)
        expectEqual(plain, y)
    }

    @Test("Layer normalisation and its gradient", arguments: Level.all, sizes)
    func layer(_ level: Level, _ dim: Int) {
        var random = Random(UInt64(dim) + 1000)
        let rows = 3, count = rows * dim, epsilon: Float = 1e-3
        let x = random.floats(count, -1...3), w = random.floats(dim, 0.5...2), b = random.floats(dim)
        let dy = random.floats(count), start = random.floats(dim)
        var y = [Float](repeating: 7, count: count), inverse = [Float](repeating: 7, count: rows), mean = inverse
        level.functions.layer_norm(x, w, b, epsilon, &y, &mean, &inverse, dim, 0, rows)
        var dx = [Float](repeating: 7, count: count), dw = start, db = start
        level.functions.layer_norm_backward(dy, x, w, mean, inverse, &dx, &dw, &db, dim, 0, rows)
        var expectedY: [Double] = [], expectedDX: [Double] = []
        var expectedDW = doubles(start), expectedDB = doubles(start)
        for row in 0..<rows {
            let v = doubles(Array(x[row * dim..<(row + 1) * dim])), g = doubles(Array(dy[row * dim..<(row + 1) * dim]))
            let middle = v.reduce(0, +) / Double(dim)
            let variance = v.reduce(0) { $0 + ($1 - middle) * ($1 - middle) } / Double(dim)
            let r = 1 / (variance + Double(epsilon)).squareRoot()
            let h = v.map { ($0 - middle) * r }, gw = (0..<dim).map { g[$0] * Double(w[$0]) }
            let first = gw.reduce(0, +) / Double(dim)
            let second = zip(gw, h).reduce(0.0) { $0 + $1.0 * $1.1 } / Double(dim)
            for i in 0..<dim {
                expectedY.append(h[i] * Double(w[i]) + Double(b[i]))
                expectedDX.append(r * (gw[i] - first - h[i] * second))
                expectedDW[i] += g[i] * h[i]
                expectedDB[i] += g[i]
            }
        }
        // One element deviates from its own mean by rounding alone, which 1 / sqrt(epsilon) magnifies.
        expectClose(y, expectedY, tolerance: 2e-5)
        expectClose(dx, expectedDX, tolerance: 5e-5)
        expectClose(dw, expectedDW, tolerance: 5e-5)
        expectClose(db, expectedDB, tolerance: 2e-6)
        var plain = y
        level.functions.layer_norm(x, w, nil, epsilon, &plain, nil, nil, dim, 0, rows)
        expectClose(plain, (0..<count).map { expectedY[$0] - Double(b[$0 % dim]) }, tolerance: 2e-5)
    }

    @Test("Rotation, its inverse, both pairings, partial and in place", arguments: Level.all)
    func rope(_ level: Level) {
        var random = Random(77)
        for (heads, dim, rotated) in [(1, 2, 2), (3, 64, 64), (2, 80, 32), (2, 20, 14), (1, 96, 90), (2, 8, 0)] {
            for interleaved in [false, true] {
                let rows = 4, half = rotated / 2, count = rows * heads * dim
                let x = random.floats(count), angles = random.floats(rows * half, -3...3)
                let cosines = angles.map { cos($0) }, sines = angles.map { sin($0) }
                var y = [Float](repeating: 7, count: count)
                level.functions.rope(x, cosines, sines, &y, heads, dim, rotated, interleaved, false, 0, 2)
                level.functions.rope(x, cosines, sines, &y, heads, dim, rotated, interleaved, false, 2, rows)
                var expected = doubles(x)
                for row in 0..<rows {
                    for head in 0..<heads {
                        let at = (row * heads + head) * dim
                        for i in 0..<half {
                            let a = at + (interleaved ? 2 * i : i), b = at + (interleaved ? 2 * i + 1 : i + half)
                            let c = Double(cosines[row * half + i]), s = Double(sines[row * half + i])
                            (expected[a], expected[b]) = (
                                Double(x[a]) * c - Double(x[b]) * s, Double(x[b]) * c + Double(x[a]) * s
                            )
                        }
                    }
                }
                expectClose(y, expected, tolerance: 1e-6, "\(heads) \(dim) \(rotated)")
                var back = y
                back.withUnsafeMutableBufferPointer { buffer in
                    level.functions.rope(
                        buffer.baseAddress, cosines, sines, buffer.baseAddress, heads, dim, rotated, interleaved, true,
                        0, rows)
                }
                expectClose(back, doubles(x), tolerance: 1e-6, "inverse")
            }
        }
    }
}
