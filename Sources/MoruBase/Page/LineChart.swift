import Foundation

/// A chart of lines as inline SVG, in the page's own colours.
package struct LineChart {
    /// A line of the chart.
    package struct Line {
        /// What the legend calls it.
        package var name: String
        /// Its points, from left to right.
        package var points: [(x: Double, y: Double)]
        /// The class that gives the colour.
        package var style: String
        /// Whether each point is a dot.
        package var hasDots: Bool

        /// Makes a line.
        package init(name: String, points: [(x: Double, y: Double)], style: String, hasDots: Bool = false) {
            (self.name, self.points, self.style, self.hasDots) = (name, points, style, hasDots)
        }
    }

    let title: String
    let xName: String
    let lines: [Line]
    /// How values of y read; nil for numbers, with the digits that tell one tick from the next.
    let format: ((Double) -> String)?
    /// Whether y begins at 0.
    let beginsAtZero: Bool

    /// Makes a chart.
    package init(
        title: String, xName: String, lines: [Line], format: ((Double) -> String)? = nil,
        beginsAtZero: Bool = false
    ) {
        (self.title, self.xName, self.lines) = (title, xName, lines)
        (self.format, self.beginsAtZero) = (format, beginsAtZero)
    }

    private static let (width, height) = (440.0, 250.0)
    private static let (left, right, top, bottom) = (52.0, 14.0, 12.0, 36.0)
    /// Points a line is drawn with at most.
    private static let resolution = 400

    /// The chart, or nothing where there are no points.
    package var svg: String {
        let points = lines.flatMap(\.points).filter { $0.y.isFinite }
        guard let first = points.first else { return "" }
        let (x, y) = (
            Scale(points.map(\.x), from: Self.left, to: Self.width - Self.right, includes: nil),
            Scale(
                points.map(\.y), from: Self.height - Self.bottom, to: Self.top, includes: beginsAtZero ? 0 : first.y)
        )
        var parts: [String] = []
        for tick in y.ticks {
            let at = Self.number(y(tick))
            parts.append(
                "<line class=\"grid\" x1=\"\(Self.left)\" x2=\"\(Self.width - Self.right)\" y1=\"\(at)\" y2=\"\(at)\"/>"
            )
            parts.append(
                "<text x=\"\(Self.left - 6)\" y=\"\(at)\" dy=\"4\" text-anchor=\"end\">\(HTMLPage.escaped(text(tick, y)))</text>"
            )
        }
        for tick in x.ticks {
            let at = Self.number(x(tick))
            parts.append(
                "<text x=\"\(at)\" y=\"\(Self.height - Self.bottom + 16)\" text-anchor=\"middle\">\(Self.brief(tick))</text>"
            )
        }
        parts.append(
            "<text class=\"axis\" x=\"\(Self.width - Self.right)\" y=\"\(Self.height - 4)\" text-anchor=\"end\">"
                + "\(HTMLPage.escaped(xName))</text>")
        for line in lines { parts.append(path(line, x, y)) }
        let values = lines.compactMap { line in line.points.last.map { "\(line.name) ends at \(text($0.y))" } }
        return """
            <figure><figcaption><h3>\(HTMLPage.escaped(title))</h3>\(legend)</figcaption>
            <svg viewBox="0 0 \(Int(Self.width)) \(Int(Self.height))" role="img" \
            aria-label="\(HTMLPage.escaped(title + ": " + values.joined(separator: ", ")))">
            \(parts.joined(separator: "\n"))
            </svg></figure>
            """
    }

    private var legend: String {
        guard lines.count > 1 else { return "" }
        return "<span class=\"legend\">"
            + lines.map { "<span class=\"key \($0.style)\">\(HTMLPage.escaped($0.name))</span>" }.joined() + "</span>"
    }

    private func path(_ line: Line, _ x: Scale, _ y: Scale) -> String {
        let points = line.points.filter { $0.y.isFinite }
        let step = max(1, (points.count + Self.resolution - 1) / Self.resolution)
        // The last of each group, so that the line ends where the run does
        let shown = points.indices.filter { ($0 + 1) % step == 0 || $0 == points.count - 1 || $0 == 0 }.map {
            points[$0]
        }
        let coordinates = shown.map { "\(Self.number(x($0.x))),\(Self.number(y($0.y)))" }
        var result = "<polyline class=\"line \(line.style)\" points=\"\(coordinates.joined(separator: " "))\"/>"
        if line.hasDots, shown.count <= 60 {
            for point in shown {
                result +=
                    "<circle class=\"\(line.style)\" cx=\"\(Self.number(x(point.x)))\" "
                    + "cy=\"\(Self.number(y(point.y)))\" r=\"3\"><title>\(Self.brief(point.x)): "
                    + "\(HTMLPage.escaped(text(point.y)))</title></circle>"
            }
        }
        return result
    }

    /// A value of y; on its scale with the digits of a step.
    private func text(_ value: Double, _ scale: Scale? = nil) -> String {
        if let format { return format(value) }
        guard let scale, scale.step >= 1e-6, max(abs(scale.low), abs(scale.high)) < 1e4 else {
            return Self.brief(value)
        }
        if abs(value) < scale.step / 2 { return "0" }
        var digits = 0
        while digits < 7, abs((scale.step * pow(10, Double(digits))).remainder(dividingBy: 1)) > 1e-6 { digits += 1 }
        return String(format: "%.\(digits)f", value)
    }

    /// A number with as many digits as people read.
    package static func brief(_ value: Double) -> String {
        let magnitude = abs(value)
        if magnitude >= 1e6 { return trimmed(value / 1e6) + "M" }
        if magnitude >= 1e4 { return trimmed(value / 1e3) + "k" }
        if magnitude >= 1e-3 || magnitude == 0 { return trimmed(value) }
        return String(format: "%.0e", value).replacing("e-0", with: "e-")
    }

    private static func trimmed(_ value: Double) -> String {
        var text = String(format: abs(value) >= 100 ? "%.0f" : abs(value) >= 1 ? "%.2f" : "%.4f", value)
        while text.contains("."), text.hasSuffix("0") || text.hasSuffix(".") { text.removeLast() }
        return text
    }

    private static func number(_ value: Double) -> String { String(format: "%.1f", value) }
}

/// A linear scale with round ticks.
private struct Scale {
    let low, high: Double
    let from, to: Double
    let step: Double
    let ticks: [Double]

    init(_ values: [Double], from: Double, to: Double, includes: Double?) {
        let all = values.filter(\.isFinite) + (includes.map { [$0] } ?? [])
        var (low, high) = (all.min() ?? 0, all.max() ?? 1)
        if high - low < 1e-12 * max(1, abs(high)) {
            (low, high) = (low - max(0.5, abs(low) / 2), high + max(0.5, abs(high) / 2))
        }
        let rough = (high - low) / 6
        let power = pow(10, floor(log10(rough)))
        let step = [1, 2, 2.5, 5, 10].map { $0 * power }.first { $0 >= rough } ?? rough
        let first = (low / step).rounded(.up)
        ticks = (0..<12).map { (first + Double($0)) * step }.filter { $0 <= high + step * 1e-9 }
        (self.low, self.high, self.from, self.to, self.step) = (low, high, from, to, step)
    }

    func callAsFunction(_ value: Double) -> Double { from + (value - low) / (high - low) * (to - from) }
}
