import MoruBase

/// Samples drawn with replacement (Efron, 1979).
enum Bootstrap {
    /// How many are drawn.
    static let resamples = 1000

    /// Gives the indices of each resample of `count` examples: the same ones every time, so that two models measured on
    /// the same examples are measured on the same resamples. Fewer than two examples cannot be resampled.
    static func forEachResample(of count: Int, _ body: ([Int]) -> Void) {
        guard count > 1 else { return }
        var generator = SplitMix64(seed: 0)
        var indices = [Int](repeating: 0, count: count)
        for _ in 0..<resamples {
            for position in 0..<count { indices[position] = Int.random(in: 0..<count, using: &generator) }
            body(indices)
        }
    }
}

/// A range that holds a figure with a given confidence.
public struct ConfidenceInterval: Sendable, Hashable {
    /// The ends.
    public let lower, upper: Double

    /// The percentile bootstrap: the figure of many samples drawn with replacement, the same ones every time.
    ///
    /// - Parameters:
    ///   - count: The number of examples.
    ///   - confidence: The share of the resampled figures that lie inside.
    ///   - figure: The figure of the examples with the given indices; nil where it is undefined.
    /// - Returns: nil with fewer than two examples, or when no resample has a figure.
    public init?(bootstrapping count: Int, confidence: Double = 0.95, _ figure: ([Int]) -> Double?) {
        var figures: [Double] = []
        Bootstrap.forEachResample(of: count) { if let value = figure($0) { figures.append(value) } }
        self.init(resampled: figures, confidence: confidence)
    }

    /// The interval of resampled figures; nil when none is a number.
    init?(resampled: [Double], confidence: Double = 0.95) {
        let figures = resampled.filter(\.isFinite).sorted()
        guard !figures.isEmpty else { return nil }
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
