import MoruBase

/// How metrics are written: Prometheus' text format 0.0.4, or OpenMetrics 1.0 for those who ask for it.
///
/// The two differ in how counters are named, in what is escaped, and in the end mark.
enum MetricFormat: Sendable {
    case prometheus
    case openMetrics

    /// The format that a collector prefers, as its `Accept` says; Prometheus' own where it says nothing of either.
    init(accept: String?) {
        var (best, quality) = (MetricFormat.prometheus, 0.0)
        for range in (accept ?? "").split(separator: ",") {
            let parts = range.split(separator: ";").map { part in
                part.trimmingPrefix { $0 == " " }.lowercased()
            }
            let format: MetricFormat
            switch parts.first?.split(separator: " ").first {
            case "application/openmetrics-text": format = .openMetrics
            case "text/plain", "text/*", "*/*": format = .prometheus
            default: continue
            }
            // A version of OpenMetrics other than this one is not asked for in vain
            if format == .openMetrics, let version = parts.first(where: { $0.hasPrefix("version=") }),
                version != "version=1.0.0"
            {
                continue
            }
            let its = parts.first { $0.hasPrefix("q=") }.flatMap { Double($0.dropFirst(2)) } ?? 1
            if its > quality { (best, quality) = (format, its) }
        }
        self = best
    }

    /// The content type.
    var contentType: String {
        switch self {
        case .prometheus: "text/plain; version=0.0.4; charset=utf-8"
        case .openMetrics: "application/openmetrics-text; version=1.0.0; charset=utf-8"
        }
    }

    /// The families, as text. One without samples is left out.
    func text(_ families: [MetricFamily]) -> String {
        var text = ""
        for family in families where !family.samples.isEmpty {
            let name = self == .openMetrics && family.kind == .counter ? family.name.dropLast(6)[...] : family.name[...]
            text += "# HELP \(name) \(escapedHelp(family.help))\n# TYPE \(name) \(family.kind.rawValue)\n"
            for sample in family.samples {
                switch sample.value {
                case .number(let value): write(family.name, sample.labels, value, &text)
                case .histogram(let histogram): write(family.name, sample.labels, histogram, &text)
                }
            }
        }
        return self == .openMetrics ? text + "# EOF\n" : text
    }

    private func write(_ name: String, _ labels: [MetricLabel], _ value: Double, _ text: inout String) {
        text += name
        if !labels.isEmpty {
            let pairs = labels.map { "\($0.name)=\"\(escaped($0.value))\"" }
            text += "{\(pairs.joined(separator: ","))}"
        }
        text += " \(Self.number(value))\n"
    }

    private func write(_ name: String, _ labels: [MetricLabel], _ histogram: Histogram, _ text: inout String) {
        var total = 0
        for (place, count) in histogram.counts.enumerated() {
            total += count
            // The same in both formats, so that a change of the format begins no new series
            let bound = place < histogram.bounds.count ? "\(histogram.bounds[place])" : "+Inf"
            write(name + "_bucket", labels + [MetricLabel("le", bound)], Double(total), &text)
        }
        write(name + "_sum", labels, histogram.sum, &text)
        write(name + "_count", labels, Double(total), &text)
    }

    private func escaped(_ value: String) -> String {
        var text = ""
        for scalar in value.unicodeScalars {
            switch scalar {
            case "\\": text += "\\\\"
            case "\"": text += "\\\""
            case "\n": text += "\\n"
            default: text.unicodeScalars.append(scalar)
            }
        }
        return text
    }

    /// Quotes are escaped in OpenMetrics only.
    private func escapedHelp(_ help: String) -> String {
        self == .openMetrics ? escaped(help) : escaped(help).replacing("\\\"", with: "\"")
    }

    /// A number: integers without a fraction, others in as many digits as give them back.
    private static func number(_ value: Double) -> String {
        if value.isNaN { return "NaN" }
        if value.isInfinite { return value > 0 ? "+Inf" : "-Inf" }
        return Int64(exactly: value).map { "\($0)" } ?? "\(value)"
    }
}
