import ArgumentParser
import Foundation
import MoruBase
import MoruTrust

extension TextMetric: ExpressibleByArgument {}

extension EvaluationComparison {
    /// The result for programs: the report of one model, or the models with what lies between them.
    func result(includingOutcomes: Bool) -> JSON {
        guard columns.count == 1, var members = columns[0].report.json(includingOutcomes: includingOutcomes).object
        else { return json(includingOutcomes: includingOutcomes) }
        if !gates.isEmpty {
            members["gates"] = .array(gates.map(\.json))
            members["passed"] = .bool(passes)
        }
        return .object(members)
    }

    /// The result for people: the figures, then some answers, then the gates.
    var text: String {
        var parts = columns.count == 1 ? [columns[0].report.text] : [table] + samples(4).map(answers)
        if !gates.isEmpty { parts.append(gateTable) }
        return parts.joined(separator: "\n\n")
    }

    /// Ends the command with an exit code of its own where a gate failed.
    ///
    /// - Parameters:
    ///   - report: A page to point to.
    ///   - isShown: Whether to say what the gates came to.
    func requireGates(report: String? = nil, isShown: Bool = false) throws {
        if isShown { Terminal.talk(gateTable) }
        if let report { Terminal.talk("report: \(report)") }
        let failed = gates.filter { !$0.passes }
        guard failed.isEmpty else {
            Terminal.talk(Terminal.paint("\(failed.count) of \(gates.count) gates failed", .red))
            throw Eval.gateExitCode
        }
    }

    private var table: String {
        // Only two have a single difference
        let showsChange = columns.count == 2
        var table = Table(
            [""] + columns.map(\.name) + (showsChange ? ["change"] : []),
            [.left] + columns.map { _ in .right } + [.right])
        for row in rows where !row.kind.isDetail {
            var cells = row.cells.map { cell in
                guard let figure = cell.figure else { return "-" }
                let mark = cell.difference?.isBetter.map { $0 ? " ▲" : " ▼" } ?? "  "
                return Format.figure(figure) + Format.range(figure) + mark
            }
            if showsChange { cells.append(row.cells[1].difference.map { Format.change($0, row.kind) } ?? "") }
            table.add([row.kind.title] + cells)
        }
        return table.text + "\n\n▲ better, ▼ worse than \(columns[0].name) by more than chance (95 times of 100)"
    }

    private func answers(_ example: Example) -> String {
        let width = max(5, columns.map(\.name.count).max() ?? 0)
        func line(_ name: String, _ text: String) -> String {
            "  " + name.padding(toLength: width, withPad: " ", startingAt: 0) + "  " + Format.oneLine(text)
        }
        let rows = zip(columns, example.cases).map { line($0.name, $1.answer) }
        return (["› " + Format.oneLine(example.question), line("right", example.reference)] + rows)
            .joined(separator: "\n")
    }

    private var gateTable: String {
        var table = Table(["gate", "model", "value", ""], [.left, .left, .right, .left])
        for outcome in gates {
            table.add(
                outcome.gate.text, outcome.model,
                outcome.value.map {
                    outcome.gate.isChange ? Format.signed($0, outcome.kind.unit) : Format.value($0, outcome.kind.unit)
                } ?? "undefined", outcome.passes ? "passed" : "FAILED")
        }
        return table.text
    }
}

extension ScoredReport {
    /// The report for people.
    fileprivate var text: String {
        switch self {
        case let report as EvaluationReport: report.answersText
        case let report as MultipleChoice.Report: report.choiceText
        case let report as SetReport: report.setsText
        default:
            (labelTables + [figuresText, "\(cases.count) texts, \(Format.duration(figure("seconds")?.value ?? 0))"])
                .joined(separator: "\n\n")
        }
    }

    /// The figures that are not about labels, a line each.
    fileprivate var figuresText: String {
        Self.lines(figures.filter { $0.kind.label == nil && [.share, .number].contains($0.kind.unit) })
    }

    /// Figures, a line each.
    fileprivate static func lines(_ shown: [Figure]) -> String {
        let width = shown.map(\.kind.title.count).max() ?? 0
        return shown.map { figure in
            figure.kind.title.padding(toLength: width, withPad: " ", startingAt: 0) + "  " + Format.figure(figure)
                + Format.range(figure)
        }.joined(separator: "\n")
    }

    /// Precision, recall and F1 of each value.
    fileprivate static func table(
        _ name: String, _ values: [ClassificationMetrics.ValueMetrics], f1: (String) -> Figure?
    ) -> String {
        var table = Table(
            [name, "precision", "recall", "F1", "examples"], [.left, .right, .right, .right, .right])
        for value in values {
            table.add(
                value.value, Format.percent(value.precision), Format.percent(value.recall),
                Format.percent(value.f1) + (f1(value.value).map(Format.range) ?? ""), "\(value.support)")
        }
        return table.text
    }

    /// The figures and the confusion matrix of each label.
    fileprivate var labelTables: [String] {
        var parts: [String] = []
        for metrics in labels {
            parts.append(Self.table(metrics.name, metrics.byValue) { metrics.figure("\($0).f1") })
            let figures = ["accuracy", "macro_f1", "micro_f1", "weighted_f1"].compactMap { key in
                metrics.figure(key).map { figure in
                    let name = key.replacing("_f1", with: " F1")
                    return "\(name) \(Format.figure(figure))\(Format.range(figure))"
                }
            }
            parts.append(
                figures.joined(separator: ", ")
                    + (metrics.unreadable > 0 ? ", \(metrics.unreadable) answered no known value" : ""))
            parts.append(metrics.confusionTable)
        }
        return parts
    }
}

extension EvaluationReport {
    fileprivate var answersText: String {
        var parts = labelTables
        parts.append(figuresText)
        parts.append(
            "\(outcomes.count) examples, \(Format.duration(seconds)), \(Int(tokensPerSecond)) tokens/s "
                + "(\(promptTokens) read, \(generatedTokens) written); "
                + "\(perplexity.tokens) tokens of right answers scored")
        return parts.joined(separator: "\n\n")
    }
}

extension SetReport {
    fileprivate var setsText: String {
        let whole = sets.figures.prefix { !$0.kind.title.hasPrefix(" ") }
        return [
            Self.table(sets.name, sets.byLabel) { sets.figure("\($0).f1") }, Self.lines(Array(whole)),
            "\(outcomes.count) texts, \(Format.duration(seconds))",
        ].joined(separator: "\n\n")
    }
}

extension MultipleChoice.Report {
    fileprivate var choiceText: String { figuresText + "\n\n\(outcomes.count) questions, \(Format.duration(seconds))" }
}

extension ClassificationMetrics {
    /// The confusion matrix: a row for each true value, a column for each predicted one.
    fileprivate var confusionTable: String {
        var columns = values
        if unreadable > 0 { columns.append("(none)") }
        var table = Table(["true \\ predicted"] + columns, [.left] + columns.map { _ in .right })
        for (value, counts) in zip(values, confusion) {
            table.add([value] + counts.prefix(columns.count).map(String.init))
        }
        return table.text
    }
}

extension Format {
    /// A figure's value: `81.2 %`, `1.114`.
    static func figure(_ figure: Figure) -> String {
        figure.value.map { value($0, figure.kind.unit) } ?? "undefined"
    }

    /// A value of a unit.
    static func value(_ value: Double, _ unit: Figure.Unit) -> String {
        switch unit {
        case .share: percent(value)
        case .number: fixed(value, abs(value) < 100 ? 3 : 1)
        case .seconds: fixed(value, 1)
        case .tokensPerSecond: fixed(value, 0)
        }
    }

    /// The ends of a figure's interval: ` (81.2 to 89.4)`.
    static func range(_ figure: Figure) -> String {
        guard let interval = figure.interval else { return "" }
        func end(_ value: Double) -> String {
            figure.kind.unit == .share ? fixed(value * 100, 1) : self.value(value, figure.kind.unit)
        }
        return " (\(end(interval.lower)) to \(end(interval.upper)))"
    }

    /// A difference of two figures; those of times and rates say nothing.
    fileprivate static func change(_ difference: Figure.Difference, _ kind: Figure.Kind) -> String {
        [.share, .number].contains(kind.unit) ? signed(difference.value, kind.unit) : ""
    }

    /// A difference with its sign, in points where it is of shares.
    fileprivate static func signed(_ difference: Double, _ unit: Figure.Unit) -> String {
        let size = abs(difference)
        return (difference < 0 ? "−" : "+") + (unit == .share ? fixed(size * 100, 1) : value(size, unit))
    }

    /// A text on one line, cut where it is long.
    fileprivate static func oneLine(_ text: String) -> String {
        let line = text.split(whereSeparator: \.isNewline).joined(separator: " · ")
        return line.count > 100 ? line.prefix(99) + "…" : line
    }
}
