import MoruBase

/// What a collector reads of `GET /metrics`, read by the letter of the text format, with the rules that `promtool check
/// metrics` knows.
struct ScrapedMetrics {
    struct Series: Hashable {
        var name: String
        var labels: [String: String]
    }

    private(set) var values: [Series: Double] = [:]
    private(set) var types: [String: String] = [:]
    /// What is wrong with it.
    private(set) var problems: [String] = []

    init(_ text: String) {
        if !text.hasSuffix("\n") { problems.append("the last line does not end") }
        var family = ""
        var helped: Set<String> = []
        for line in text.split(separator: "\n") {
            if line == "# EOF" { continue }
            let words = line.split(separator: " ", maxSplits: 3).map(String.init)
            if line.hasPrefix("# HELP ") {
                family = words[2]
                if words.count < 4 { problems.append("no help: \(line)") }
                if !helped.insert(family).inserted { problems.append("twice: \(line)") }
            } else if line.hasPrefix("# TYPE ") {
                if words[2] != family || types[family] != nil { problems.append("misplaced: \(line)") }
                types[family] = words[3]
            } else {
                read(String(line), of: family)
            }
        }
        for (name, type) in types { check(name, type) }
    }

    /// The value of a series; nil where there is none.
    func value(_ name: String, _ labels: [String: String] = [:]) -> Double? {
        values[Series(name: name, labels: labels)]
    }

    private mutating func read(_ line: String, of family: String) {
        guard let match = line.wholeMatch(of: /([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)/) else {
            return problems.append("no sample: \(line)")
        }
        let (name, number) = (String(match.1), String(match.3))
        let suffixes = types[family] == "histogram" ? ["_bucket", "_sum", "_count"] : ["", "_total"]
        if !suffixes.contains(where: { family + $0 == name }) { problems.append("\(name) is not of \(family)") }
        var labels: [String: String] = [:]
        var rest = match.2 ?? ""
        while !rest.isEmpty {
            guard let label = rest.prefixMatch(of: /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\\\|\\"|\\n)*)",?/) else {
                return problems.append("no label: \(line)")
            }
            if labels.updateValue(String(label.2), forKey: String(label.1)) != nil { problems.append("twice: \(line)") }
            rest = rest[label.range.upperBound...]
        }
        let value = number == "+Inf" ? .infinity : number == "-Inf" ? -.infinity : Double(number)
        guard let value else { return problems.append("no number: \(line)") }
        if values.updateValue(value, forKey: Series(name: name, labels: labels)) != nil {
            problems.append("twice: \(line)")
        }
    }

    private mutating func check(_ name: String, _ type: String) {
        for unit in ["milliseconds", "_ms", "minutes", "kilobytes", "megabytes", "mebibytes", "percent"]
        where name.contains(unit) {
            problems.append("\(name) is in no base unit")
        }
        for word in ["gauge", "counter", "histogram", "_count", "_sum", "_bucket"] where name.hasSuffix(word) {
            problems.append("\(name) ends like what it is not")
        }
        guard type == "histogram" else {
            let its = values.filter { $0.key.name == name || $0.key.name == name + "_total" }
            if type == "counter", its.contains(where: { !$0.key.name.hasSuffix("_total") || !($0.value >= 0) }) {
                problems.append("\(name) is not a counter")
            }
            if type == "gauge", name.hasSuffix("_total") { problems.append("\(name) is not a gauge") }
            return
        }
        let buckets = Dictionary(grouping: values.filter { $0.key.name == name + "_bucket" }) {
            $0.key.labels.filter { $0.key != "le" }
        }
        for (labels, its) in buckets {
            let sorted = its.sorted { bound($0.key) < bound($1.key) }
            if zip(sorted, sorted.dropFirst()).contains(where: { $0.value > $1.value })
                || bound(sorted[sorted.count - 1].key) != .infinity
                || sorted.last?.value != value(name + "_count", labels) || value(name + "_sum", labels) == nil
            {
                problems.append("\(name) \(labels) is not a histogram")
            }
        }
        if buckets.isEmpty { problems.append("\(name) has no buckets") }
    }

    private func bound(_ series: Series) -> Double {
        let text = series.labels["le"] ?? ""
        return text == "+Inf" ? .infinity : Double(text) ?? .nan
    }
}

extension TestServer {
    /// What `GET /metrics` tells now.
    ///
    /// - Throws: What the client throws.
    func metrics() async throws -> ScrapedMetrics { ScrapedMetrics(try await request("GET", "/metrics").body) }
}
