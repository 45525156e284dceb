import Foundation
import MoruTensor

/// What the merging of whole models does with the values of one tensor, all in f32.
enum MergeArithmetic {
    /// `base + sum of w_i (other_i - base)`.
    static func linear(_ base: Tensor, _ others: [Tensor], weights: [Float]) -> Tensor {
        let result = Tensor(uninitialized: base.shape)
        forRanges(base.count) { range in
            for index in range {
                let start = base.floats[index]
                var sum = start
                for (other, weight) in zip(others, weights) { sum += weight * (other.floats[index] - start) }
                result.floats[index] = sum
            }
        }
        return result
    }

    /// Between two tensors, each one vector, along the arc between their directions.
    static func slerp(_ a: Tensor, _ b: Tensor, _ t: Float) -> Tensor {
        // Sums go over the whole in order, so that they do not depend on the number of threads
        var (dot, squareA, squareB) = (0.0, 0.0, 0.0)
        for index in 0..<a.count {
            let (x, y) = (Double(a.floats[index]), Double(b.floats[index]))
            dot += x * y
            squareA += x * x
            squareB += y * y
        }
        let t = Double(t)
        let cosine = dot / (squareA * squareB).squareRoot()
        var (first, second) = (1 - t, t)
        // Also where one of them is zero and has no direction
        if abs(cosine) < 0.9995 {
            let angle = acos(cosine)
            (first, second) = (sin((1 - t) * angle) / sin(angle), sin(t * angle) / sin(angle))
        }
        let result = Tensor(uninitialized: a.shape)
        forRanges(a.count) { range in
            for index in range {
                result.floats[index] = Float(first * Double(a.floats[index]) + second * Double(b.floats[index]))
            }
        }
        return result
    }

    /// Trimmed differences from the base, their signs elected, those that agree averaged (Yadav et al., 2023).
    static func ties(_ base: Tensor, _ others: [Tensor], weights: [Float], density: Float, scale: Float) -> Tensor {
        let deltas = others.map { other in
            let delta = Tensor(uninitialized: base.shape)
            forRanges(base.count) { range in
                for index in range { delta.floats[index] = other.floats[index] - base.floats[index] }
            }
            trim(delta, keeping: Int(Double(density) * Double(base.count)))
            return delta
        }
        let result = Tensor(uninitialized: base.shape)
        forRanges(base.count) { range in
            for index in range {
                var total: Float = 0
                for (delta, weight) in zip(deltas, weights) { total += weight * delta.floats[index] }
                let elected: Float = total > 0 ? 1 : total < 0 ? -1 : 0
                var (sum, share): (Float, Float) = (0, 0)
                for (delta, weight) in zip(deltas, weights) where delta.floats[index] * elected > 0 {
                    sum += weight * delta.floats[index]
                    share += weight
                }
                result.floats[index] = base.floats[index] + (share > 0 ? scale * sum / share : 0)
            }
        }
        return result
    }

    /// Sets all but the largest magnitudes to zero, in place; of equal ones the first stay.
    private static func trim(_ x: Tensor, keeping kept: Int) {
        let (count, values) = (x.count, x.floats)
        guard kept < count else { return }
        func magnitude(_ index: Int) -> UInt32 { values[index].bitPattern & 0x7FFF_FFFF }
        // Patterns of magnitudes are ordered as their values: the upper half of the bits, then the lower
        var (threshold, larger): (UInt32, Int) = (0, 0)
        for (shift, width) in [(15, 16), (0, 15)] as [(UInt32, UInt32)] {
            var counts = [Int](repeating: 0, count: 1 << width)
            for index in 0..<count where shift == 15 || magnitude(index) >> 15 == threshold >> 15 {
                counts[Int(magnitude(index) >> shift) & (1 << width - 1)] += 1
            }
            var bucket = counts.count - 1
            while bucket > 0, larger + counts[bucket] < kept {
                larger += counts[bucket]
                bucket -= 1
            }
            threshold |= UInt32(bucket) << shift
        }
        var left = kept - larger
        for index in 0..<count where magnitude(index) <= threshold {
            if magnitude(index) == threshold, left > 0 { left -= 1 } else { values[index] = 0 }
        }
    }

    private static func forRanges(_ count: Int, _ body: (Range<Int>) -> Void) {
        Runtime.shared.threads.forRanges(count, minimum: 1 << 16, body)
    }
}
