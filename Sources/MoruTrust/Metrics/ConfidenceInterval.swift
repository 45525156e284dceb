import MoruBase

/// A range that holds a figure with a given confidence.
public struct ConfidenceInterval: Sendable, Hashable {
    /// The ends.
    public let lower, upper: Double

    /// Resamples that an interval is read off.
    static let resamples = 1000

    /// The percentile bootstrap (Efron, 1979): the figure of many samples drawn with replacement, the same ones every
    /// time.
    ///
    /// - Parameters:
    ///   - count: The number of examples.
    ///   - confidence: The share of the resampled figures that lie inside.
    ///   - figure: The figure of the examples with the given indices; nil where it is undefined.
    /// - Returns: nil with fewer than two examples, or when no resample has a figure.
    public init?(bootstrapping count: Int, confidence: Double = 0.95, _ figure: ([Int]) -> Double?) {
        guard count > 1 else { return nil }
        var generator = SplitMix64(seed: 0)
        var figures: [Double] = []
        var indices = [Int](repeating: 0, count: count)
        for _ in 0..<Self.resamples {
            for position in 0..<count { indices[position] = Int.random(in: 0..<count, using: &generator) }
            if let value = figure(indices) { figures.append(value) }
        }
        guard !figures.isEmpty else { return nil }
        figures.sort()
        func quantile(_ share: Double) -> Double {
            let position = share * Double(figures.count - 1)
            let below = Int(position), above = min(figures.count - 1, below + 1)
            return figures[below] + (figures[above] - figures[below]) * (position - Double(below))
        }
        lower = quantile((1 - confidence) / 2)
        upper = quantile((1 + confidence) / 2)
    }

    /// The ends as an array.
    public var json: JSON { [.double(lower), .double(upper)] }
}
