import MoruTensor

/// The frequencies that turn a model's queries and keys, worked out once.
struct RotaryFrequencies: Sendable {
    /// Radians a position for each pair of a head's elements.
    private let inverse: [Double]
    /// What turns sequences longer than the original context instead; nil for the same.
    let long: (inverse: [Double], originalContext: Int)?
    private let attentionFactor: Double

    /// What a model of the keys of the Llama family turns by.
    init(_ c: LlamaConfiguration) { self.init(c.ropeScaling, dim: c.rotatedDim, base: c.ropeBase) }

    /// - Parameter dim: How many elements of a head are turned.
    init(_ scaling: RotaryScaling, dim: Int, base: Double) {
        inverse = scaling.inverseFrequencies(headDim: dim, base: base)
        attentionFactor = scaling.attentionFactor
        if case .longrope(_, let factors, let original, _) = scaling {
            long = (RotaryScaling.perFrequency(factors).inverseFrequencies(headDim: dim, base: base), original)
        } else {
            long = nil
        }
    }

    /// The angles of a batch's rows, each sequence's by its own length.
    func angles(of batch: TokenBatch) -> RotaryAngles {
        let positions = batch.positions
        guard let long, positions.contains(where: { $0 >= long.originalContext }) else {
            return angles(positions, inverse)
        }
        return RotaryAngles(
            joining: batch.segments.map { segment in
                let end = segment.firstPosition + segment.rows.count
                return angles(Array(positions[segment.rows]), end > long.originalContext ? long.inverse : inverse)
            })
    }

    private func angles(_ positions: [Int], _ frequencies: [Double]) -> RotaryAngles {
        RotaryAngles(positions: positions, inverseFrequencies: frequencies, attentionFactor: attentionFactor)
    }
}
