import Foundation
import MoruBase

/// An evaluation as one page of HTML that needs nothing else: figures with their intervals, confusion matrices,
/// calibration, and the worst errors.
public struct EvaluationPage {
    /// The most errors that are listed.
    static let worstCount = 20
    /// The most characters of a text that are shown.
    static let maximumTextLength = 1500

    private let comparison: EvaluationComparison
    private let recipe: EvaluationRecipe
    private let date: Date

    /// Makes a page.
    ///
    /// - Parameters:
    ///   - comparison: What was found.
    ///   - recipe: What was asked for.
    ///   - date: When.
    public init(_ comparison: EvaluationComparison, _ recipe: EvaluationRecipe, date: Date = Date()) {
        (self.comparison, self.recipe, self.date) = (comparison, recipe, date)
    }

    private var columns: [EvaluationComparison.Column] { comparison.columns }
    private var name: String { recipe.data.split(separator: "/").last.map(String.init) ?? recipe.data }

    /// The page.
    public var html: String {
        HTMLPage(
            title: "\(name) - Moru evaluation",
            parts: [header, tiles, gates, figures, details, confusions, calibration, worst, settings],
            footer: "Written by Moru. Intervals hold a figure 95 times of 100, by the bootstrap over examples; "
                + "differences are paired."
        ).html
    }

    private func escaped(_ text: String) -> String { HTMLPage.escaped(text) }

    private var header: String {
        let failed = comparison.gates.count { !$0.passes }
        let state: (String, String)? =
            comparison.gates.isEmpty
            ? nil
            : failed == 0
                ? ("gates passed", "finished") : ("\(failed) \(failed == 1 ? "gate" : "gates") failed", "stopped")
        return HTMLPage.header(
            "Evaluation on \(name)", state: state,
            "\(columns.map(\.name).joined(separator: ", ")), \(HTMLPage.date(date))")
    }

    private var tiles: String {
        guard let last = columns.last else { return "" }
        let count = last.report.cases.count
        var tiles = [(value: "\(count)", name: count == 1 ? "example" : "examples")]
        for figure in last.report.figures where !figure.kind.isDetail && !figure.kind.title.hasPrefix(" ") {
            guard let value = figure.value, [.share, .number].contains(figure.kind.unit), tiles.count < 6 else {
                continue
            }
            let model = columns.count > 1 ? ", \(last.name)" : ""
            tiles.append((Self.text(value, figure.kind.unit), figure.kind.title + model))
        }
        return HTMLPage.tiles(tiles)
    }

    private var gates: String {
        let rows = comparison.gates.map { outcome -> String in
            let value = outcome.value.map { Self.text($0, outcome.kind.unit) } ?? "undefined"
            return "<tr><th scope=\"row\">\(escaped(outcome.gate.text))</th><td>\(escaped(outcome.model))</td>"
                + "<td>\(value)</td><td class=\"\(outcome.passes ? "better" : "worse")\">"
                + "\(outcome.passes ? "passed" : "failed")</td></tr>"
        }
        return rows.isEmpty
            ? ""
            : HTMLPage.section(
                "Gates", Self.table(["", "model", "value", ""], rows))
    }

    // MARK: Figures

    private var figures: String {
        let note =
            columns.count > 1
            ? "<p><small>▲ better, ▼ worse than \(escaped(columns[0].name)) by more than chance.</small></p>" : ""
        return HTMLPage.section("Figures", table(comparison.rows.filter { !$0.kind.isDetail }) + note)
    }

    private var details: String {
        let rows = comparison.rows.filter(\.kind.isDetail)
        return rows.isEmpty
            ? "" : "<section><details><summary>More figures</summary>\(table(rows))</details></section>"
    }

    private func table(_ rows: [EvaluationComparison.Row]) -> String {
        Self.table(
            [""] + columns.map(\.name),
            rows.map { row in
                "<tr><th scope=\"row\">\(escaped(row.kind.title).replacing("  ", with: "&emsp;"))</th>"
                    + row.cells.map { cell($0, row.kind) }.joined() + "</tr>"
            })
    }

    private func cell(_ cell: EvaluationComparison.Cell, _ kind: Figure.Kind) -> String {
        guard let figure = cell.figure, let value = figure.value else { return "<td>-</td>" }
        let interval = figure.interval.map {
            " <small>\(Self.text($0.lower, kind.unit)) to \(Self.text($0.upper, kind.unit))</small>"
        }
        let mark = cell.difference?.isBetter.map { isBetter in
            " <span class=\"\(isBetter ? "better\">▲" : "worse\">▼")</span>"
        }
        return "<td>\(Self.text(value, kind.unit))\(mark ?? "")\(interval ?? "")</td>"
    }

    private static func table(_ header: [String], _ rows: [String]) -> String {
        "<div class=\"scroll\"><table class=\"figures\"><thead><tr>"
            + header.map { "<th scope=\"col\">\(HTMLPage.escaped($0))</th>" }.joined()
            + "</tr></thead><tbody>\(rows.joined(separator: "\n"))</tbody></table></div>"
    }

    /// A value as people read it.
    private static func text(_ value: Double, _ unit: Figure.Unit) -> String {
        switch unit {
        case .share: String(format: "%.1f %%", value * 100)
        case .number: String(format: abs(value) < 100 ? "%.3f" : "%.1f", value)
        case .seconds: HTMLPage.duration(value)
        case .tokensPerSecond: String(format: "%.0f", value)
        }
    }

    // MARK: Confusion and calibration

    private var confusions: String {
        let names = columns.last?.report.labels.map(\.name) ?? []
        return names.map { name in
            let matrices = columns.compactMap { column in
                column.report.labels.first { $0.name == name }.map { matrix($0, of: column.name) }
            }
            let isWide = (columns.last?.report.labels.first { $0.name == name }?.values.count ?? 0) > 5
            return HTMLPage.section(
                "Confusion: \(name)", "<div class=\"side\(isWide ? " wide" : "")\">\(matrices.joined())</div>")
        }.joined(separator: "\n")
    }

    private func matrix(_ metrics: ClassificationMetrics, of model: String) -> String {
        let predicted = metrics.values + (metrics.unreadable > 0 ? ["(none)"] : [])
        let rows = zip(metrics.values, metrics.confusion).map { value, counts -> String in
            let total = max(1, counts.reduce(0, +))
            let cells = counts.prefix(predicted.count).map { count in
                "<td style=\"--share: \(String(format: "%.3f", Double(count) / Double(total)))\">\(count)</td>"
            }
            return "<tr><th scope=\"row\">\(escaped(value))</th>\(cells.joined())</tr>"
        }
        let header = predicted.map { "<th scope=\"col\">\(escaped($0))</th>" }.joined()
        return "<div><h3>\(escaped(model))</h3><div class=\"scroll\"><table class=\"matrix\">"
            + "<tr><th>true \\ predicted</th>\(header)</tr>\(rows.joined(separator: "\n"))</table></div></div>"
    }

    private var calibration: String {
        let charts = columns.compactMap { column -> LineChart? in
            guard let calibration = column.report.calibration else { return nil }
            return LineChart(
                title: "Calibration, \(column.name)", xName: "confidence",
                lines: [
                    LineChart.Line(name: "perfect", points: [(0, 0), (1, 1)], style: "faint"),
                    LineChart.Line(
                        name: String(format: "share right, error %.1f %%", calibration.expectedError * 100),
                        points: calibration.bins.map { (x: $0.confidence, y: $0.accuracy) }, style: "second",
                        hasDots: true),
                ], beginsAtZero: true)
        }
        return HTMLPage.charts(charts)
    }

    // MARK: Examples

    private var worst: String {
        let examples = comparison.worst(Self.worstCount)
        guard !examples.isEmpty else { return "" }
        let cases = examples.map { example -> String in
            var rows: [String] = []
            if !example.reference.isEmpty { rows.append(line("right", example.reference)) }
            for (column, item) in zip(columns, example.cases) {
                let mark = item.isRight.map {
                    $0 ? " <span class=\"better\">✓</span>" : " <span class=\"worse\">✗</span>"
                }
                rows.append(
                    "<dt>\(escaped(column.name))\(mark ?? "")</dt><dd><p class=\"text\">\(shown(item.answer))</p>"
                        + "<small>\(escaped(item.note))</small></dd>")
            }
            return "<div class=\"case\"><h4>Example \(example.place + 1)</h4>"
                + "<p class=\"text\">\(shown(example.question))</p><dl>\(rows.joined())</dl></div>"
        }
        let isError = examples[0].cases.contains { $0.isRight != nil }
        return HTMLPage.section(isError ? "Worst errors" : "Highest losses", cases.joined(separator: "\n"))
    }

    private func line(_ name: String, _ text: String) -> String {
        "<dt>\(escaped(name))</dt><dd><p class=\"text\">\(shown(text))</p></dd>"
    }

    /// A text, with what is left out of a long one said.
    private func shown(_ text: String) -> String {
        let left = text.count - Self.maximumTextLength
        guard left > 0 else { return escaped(text) }
        return escaped(String(text.prefix(Self.maximumTextLength))) + " <small>… and \(left) characters more</small>"
    }

    private var settings: String {
        var rows = [(name: "data", text: recipe.data)]
        if let against = recipe.against { rows.append(("against", against)) }
        for model in recipe.models {
            rows.append((model.name, [model.model, model.adapter].compactMap(\.self).joined(separator: " with ")))
        }
        if !recipe.metrics.isEmpty {
            rows.append(("metrics", recipe.metrics.map(\.rawValue).joined(separator: ", ")))
        }
        if let instruction = recipe.instruction { rows.append(("instruction", instruction)) }
        if let limit = recipe.limit { rows.append(("limit", "\(limit)")) }
        return HTMLPage.section("Settings", HTMLPage.table(rows))
    }
}
