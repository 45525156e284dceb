import MoruBase

/// A figure of an evaluation with its uncertainty: what tables show, gates test, and models are compared by.
public struct Figure: Sendable, Hashable {
    /// What a figure counts.
    public enum Unit: String, Sendable {
        /// A share of 1.
        case share
        /// A plain number.
        case number
        /// Seconds.
        case seconds
        /// Tokens a second.
        case tokensPerSecond
    }

    /// What a figure is.
    public struct Kind: Sendable, Hashable {
        /// The name that gates use, such as `sentiment.accuracy`.
        public let name: String
        /// The name for people, such as `sentiment accuracy`.
        public let title: String
        /// The label that the figure is about; nil when it is about whole answers.
        public let label: String?
        /// What it counts.
        public let unit: Unit
        /// Whether a larger value is better.
        public let prefersMore: Bool
        /// Whether a table of several models leaves it out.
        public let isDetail: Bool

        init(
            _ name: String, _ title: String? = nil, label: String? = nil, unit: Unit = .share, prefersMore: Bool = true,
            isDetail: Bool = false
        ) {
            (self.name, self.title, self.label) = (name, title ?? name.replacing("_", with: " "), label)
            (self.unit, self.prefersMore, self.isDetail) = (unit, prefersMore, isDetail)
        }
    }

    /// How long an evaluation took.
    static let seconds = Kind("seconds", unit: .seconds, prefersMore: false)
    /// How fast it was.
    static let tokensPerSecond = Kind("tokens_per_second", "tokens/s", unit: .tokensPerSecond)

    /// What it is.
    public let kind: Kind
    /// The figure of all examples; nil where it is undefined.
    public let value: Double?
    /// Where the figure of another sample like this one would lie, 95 times of 100.
    public let interval: ConfidenceInterval?
    /// The figure of each resample, NaN where it is undefined; empty where there are none.
    let resampled: [Double]

    /// A figure without uncertainty, such as a time.
    init(_ kind: Kind, value: Double?) {
        (self.kind, self.value, interval, resampled) = (kind, value.flatMap { $0.isFinite ? $0 : nil }, nil, [])
    }

    private init(_ kind: Kind, value: Double?, resampled: [Double]) {
        (self.kind, self.value, self.resampled) = (kind, value.flatMap { $0.isFinite ? $0 : nil }, resampled)
        interval = ConfidenceInterval(resampled: resampled)
    }

    /// Figures that are measured together, of all examples and of each resample.
    ///
    /// - Parameters:
    ///   - kinds: What they are.
    ///   - count: The number of examples.
    ///   - measure: The figures of the examples with the given indices, one for each kind; nil where undefined.
    static func measure(_ kinds: [Kind], count: Int, _ measure: ([Int]) -> [Double?]) -> [Figure] {
        guard count > 0 else { return kinds.map { Figure($0, value: nil) } }
        var columns = kinds.map { _ in [Double]() }
        Bootstrap.forEachResample(of: count) { indices in
            for (column, value) in measure(indices).enumerated() { columns[column].append(value ?? .nan) }
        }
        return zip(kinds, zip(measure(Array(0..<count)), columns)).map { kind, found in
            Figure(kind, value: found.0, resampled: found.1)
        }
    }

    /// Figures are the same when kind, value and interval are.
    public static func == (left: Figure, right: Figure) -> Bool {
        left.kind == right.kind && left.value == right.value && left.interval == right.interval
    }
    /// Hashes kind and value.
    public func hash(into hasher: inout Hasher) {
        hasher.combine(kind)
        hasher.combine(value)
    }

    /// The value and the ends of its interval; null where undefined.
    public var json: JSON {
        ["value": value.map { .double($0) } ?? .null, "interval": interval?.json ?? .null]
    }
}

extension Figure: CustomStringConvertible {
    /// Name, value and interval.
    public var description: String {
        "\(kind.name) \(value.map { "\($0)" } ?? "undefined")"
            + (interval.map { " (\($0.lower) to \($0.upper))" } ?? "")
    }
}

extension Figure {
    /// How far two models' figures on the same examples lie apart.
    public struct Difference: Sendable, Hashable {
        /// The later value less the earlier.
        public let value: Double
        /// Where the difference on another sample like this one would lie, 95 times of 100.
        public let interval: ConfidenceInterval?
        /// Whether more is better.
        let prefersMore: Bool

        /// Whether the interval leaves out zero.
        public var isSignificant: Bool { interval.map { $0.lower > 0 || $0.upper < 0 } ?? false }
        /// Whether the later model is better, where the difference is significant; nil where it is not.
        public var isBetter: Bool? { isSignificant ? (value > 0) == prefersMore : nil }

        /// The difference, its interval and whether it is significant.
        public var json: JSON {
            [
                "value": .double(value), "interval": interval?.json ?? .null, "significant": .bool(isSignificant),
                "better": isBetter.map { .bool($0) } ?? .null,
            ]
        }
    }

    /// The difference from another model's figure, by the paired bootstrap (Koehn, 2004): both models are measured on
    /// the same resamples. nil where one of the two is undefined.
    public func difference(from earlier: Figure) -> Difference? {
        guard kind == earlier.kind, let value, let before = earlier.value else { return nil }
        let pairs = resampled.count == earlier.resampled.count ? zip(resampled, earlier.resampled).map { $0 - $1 } : []
        return Difference(
            value: value - before, interval: ConfidenceInterval(resampled: pairs), prefersMore: kind.prefersMore)
    }
}
