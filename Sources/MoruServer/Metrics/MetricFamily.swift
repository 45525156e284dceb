import MoruBase

/// Samples of one name, as Prometheus collects them.
struct MetricFamily: Sendable, Hashable {
    /// What the samples are.
    enum Kind: String, Sendable {
        /// Only ever grows, from 0 at the start; its name ends in `_total`.
        case counter
        /// Goes up and down.
        case gauge
        /// How often values fell between given bounds.
        case histogram
    }

    /// A value, or a histogram of values.
    enum Value: Sendable, Hashable {
        case number(Double)
        case histogram(Histogram)
    }

    /// A value and what tells it from others of its family.
    struct Sample: Sendable, Hashable {
        var labels: [MetricLabel]
        var value: Value
    }

    /// The name, with the unit: `moru_queue_seconds`.
    let name: String
    let kind: Kind
    /// A sentence that says what it is.
    let help: String
    private(set) var samples: [Sample] = []

    /// A family without samples.
    init(_ name: String, _ kind: Kind, _ help: String) {
        precondition(
            Self.isName(name) && (kind == .counter) == name.hasSuffix("_total"), "\(name) is no \(kind)'s name")
        (self.name, self.kind, self.help) = (name, kind, help)
    }

    /// A family with one sample.
    init(_ name: String, _ kind: Kind, _ help: String, _ value: Double, _ labels: [MetricLabel] = []) {
        self.init(name, kind, help)
        add(value, labels)
    }

    /// Adds a value.
    mutating func add(_ value: Double, _ labels: [MetricLabel] = []) {
        precondition(kind != .histogram, "\(name) has histograms")
        samples.append(Sample(labels: labels, value: .number(value)))
    }

    /// Adds a histogram.
    mutating func add(_ histogram: Histogram, _ labels: [MetricLabel] = []) {
        precondition(kind == .histogram, "\(name) has no histograms")
        samples.append(Sample(labels: labels, value: .histogram(histogram)))
    }

    private static func isName(_ name: String) -> Bool {
        name.wholeMatch(of: /[a-zA-Z_:][a-zA-Z0-9_:]*/) != nil
    }
}

/// What tells a sample from others of its family.
struct MetricLabel: Sendable, Hashable {
    let name: String
    let value: String

    init(_ name: String, _ value: String) { (self.name, self.value) = (name, value) }
}
