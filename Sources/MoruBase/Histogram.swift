/// How often values fell between given bounds, as Prometheus has it: for figures that are watched over time.
///
/// Recording allocates nothing.
public struct Histogram: Sendable, Hashable {
    /// The upper bounds of all buckets but the last, which has none; ascending.
    public let bounds: [Double]
    /// Values in each bucket: above the bound before it, and at most its own.
    public private(set) var counts: [Int]
    /// The sum of all values.
    public private(set) var sum = 0.0

    /// An empty histogram.
    ///
    /// - Parameter bounds: Ascending and finite.
    public init(_ bounds: [Double]) {
        precondition(
            zip(bounds, bounds.dropFirst()).allSatisfy { $0 < $1 } && bounds.allSatisfy(\.isFinite),
            "the bounds of a histogram must ascend")
        self.bounds = bounds
        counts = Array(repeating: 0, count: bounds.count + 1)
    }

    /// The number of values.
    public var count: Int { counts.reduce(0, +) }

    /// Adds a value, some times over.
    public mutating func record(_ value: Double, times: Int = 1) {
        guard times > 0, !value.isNaN else { return }
        // The first bound that is no less than the value
        var (low, high) = (0, bounds.count)
        while low < high {
            let middle = (low + high) / 2
            if bounds[middle] < value { low = middle + 1 } else { high = middle }
        }
        counts[low] += times
        sum += value * Double(times)
    }
}

extension Histogram {
    /// Empty, with bounds from 1 ms to 10 minutes: for requests and waits.
    public static let ofSeconds = Histogram([
        0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320, 600,
    ])
    /// Empty, with bounds from 1 ms to 10 s: for the time between two tokens.
    public static let ofTokenSeconds = Histogram([
        0.001, 0.0025, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1, 2.5, 10,
    ])
    /// Empty, with bounds from 1 to 2^17: for lengths in tokens.
    public static let ofTokens = Histogram((0...17).map { Double(1 << $0) })
}
