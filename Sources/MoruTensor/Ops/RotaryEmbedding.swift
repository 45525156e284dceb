import Foundation

/// The angles that rotary position embedding (Su et al., 2021) turns each token's heads by.
public struct RotaryAngles: Sendable {
    /// Cosines and sines, [N, rotated / 2].
    public let cosines: Tensor
    /// See ``cosines``.
    public let sines: Tensor
    /// How many elements of a head are turned, from the first on.
    public let rotated: Int
    /// Whether pairs are neighbours (2i, 2i+1) instead of halves (i, i + rotated/2).
    public let interleaved: Bool

    /// The angles of the given positions.
    ///
    /// - Parameters:
    ///   - positions: One for each token.
    ///   - inverseFrequencies: Radians a position, for each pair of elements.
    ///   - attentionFactor: What cosines and sines are multiplied by (YaRN and LongRoPE), usually 1.
    public init(
        positions: [Int], inverseFrequencies: [Double], attentionFactor: Double = 1, interleaved: Bool = false
    ) {
        let pairs = inverseFrequencies.count
        let cosines = Tensor(uninitialized: [positions.count, pairs])
        let sines = Tensor(uninitialized: [positions.count, pairs])
        // Sequences of a batch share positions: each is computed once, and copied
        var rowOfPosition: [Int: Int] = [:]
        let sources = positions.enumerated().map { row, position in
            let source = rowOfPosition[position] ?? row
            rowOfPosition[position] = source
            return source
        }
        let (cosine, sine) = (cosines.floats, sines.floats)
        Runtime.shared.threads.forRanges(positions.count, minimum: 256) { rows in
            for row in rows where sources[row] == row {
                for pair in 0..<pairs {
                    // f32 angles, as the reference implementations compute them
                    let angle = Float(positions[row]) * Float(inverseFrequencies[pair])
                    cosine[row * pairs + pair] = Float(cos(Double(angle)) * attentionFactor)
                    sine[row * pairs + pair] = Float(sin(Double(angle)) * attentionFactor)
                }
            }
        }
        for (row, source) in sources.enumerated() where source != row {
            (cosine + row * pairs).update(from: cosine + source * pairs, count: pairs)
            (sine + row * pairs).update(from: sine + source * pairs, count: pairs)
        }
        (self.cosines, self.sines) = (cosines, sines)
        rotated = pairs * 2
        self.interleaved = interleaved
    }
}

extension RotaryAngles {
    /// The angles of several runs of tokens, one after the other, which turn as many elements of a head.
    public init(joining parts: [RotaryAngles]) {
        guard let first = parts.first else { preconditionFailure("RotaryAngles: nothing to join") }
        precondition(
            parts.allSatisfy { $0.rotated == first.rotated && $0.interleaved == first.interleaved },
            "RotaryAngles: the runs turn different elements")
        cosines = .concatenated(parts.map(\.cosines))
        sines = .concatenated(parts.map(\.sines))
        (rotated, interleaved) = (first.rotated, first.interleaved)
    }
}

extension Tensor {
    /// Turns each head of this tensor [N, heads, headDim] by its token's angles.
    public func rope(_ angles: RotaryAngles) -> Tensor {
        precondition(
            rank == 3 && shape[0] == angles.cosines.shape[0] && shape[2] >= angles.rotated,
            "rope: \(shape) and angles \(angles.cosines.shape) do not fit")
        let backend = Runtime.shared.backend
        return backend.rope(detached(), angles, inverse: false)
            .recording(self) { [backend.rope($0, angles, inverse: true)] }
    }
}
