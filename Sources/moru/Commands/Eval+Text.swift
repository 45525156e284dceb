import ArgumentParser
import Foundation
import MoruTrust

extension EvaluationReport {
    /// The report for people.
    var text: String {
        var parts: [String] = []
        for metrics in labels {
            var table = Table(
                [metrics.name, "precision", "recall", "F1", "examples"], [.left, .right, .right, .right, .right])
            for value in metrics.byValue {
                table.add(
                    value.value, Format.percent(value.precision), Format.percent(value.recall),
                    Format.percent(value.f1), "\(value.support)")
            }
            parts.append(table.text)
            parts.append(
                "accuracy \(Format.percent(metrics.accuracy))\(Format.range(metrics.accuracyInterval)), "
                    + "macro F1 \(Format.percent(metrics.macroF1))\(Format.range(metrics.macroF1Interval))"
                    + (metrics.unreadable > 0 ? ", \(metrics.unreadable) answered no known value" : ""))
            parts.append(metrics.confusionTable)
        }
        if !texts.isEmpty {
            var table = Table(["text", "value", "95 times of 100"], [.left, .right, .left])
            for score in texts {
                func number(_ value: Double) -> String { Format.fixed(value, 3) }
                table.add(
                    score.metric.rawValue, score.value.map(number) ?? "undefined",
                    score.interval.map { "\(number($0.lower)) to \(number($0.upper))" } ?? "")
            }
            parts.append(table.text)
        }
        parts.append(
            "exact match \(Format.percent(exactMatch))\(Format.range(exactMatchInterval)) of \(outcomes.count) examples, "
                + "perplexity \(Format.fixed(perplexity.value, 3)) over \(perplexity.tokens) tokens, "
                + "\(Format.fixed(bitsPerByte, 3)) bits per byte")
        parts.append(
            "\(Format.duration(seconds)), \(Int(tokensPerSecond)) tokens/s "
                + "(\(promptTokens) read, \(generatedTokens) written)")
        return parts.joined(separator: "\n\n")
    }
}

extension TextMetric: ExpressibleByArgument {}

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

extension EvaluationComparison {
    /// The comparison for people: the figures, then some answers.
    var text: String {
        var table = Table(["", "before", "after", "change"], [.left, .right, .right, .right])
        for row in rows {
            table.add(row.name, show(row.before, row.unit), show(row.after, row.unit), change(row))
        }
        let answers = samples(4).map { pair in
            """
            › \(Self.oneLine(pair.question))
              right   \(Self.oneLine(pair.reference))
              before  \(Self.oneLine(pair.before))
              after   \(Self.oneLine(pair.after))
            """
        }
        return ([table.text] + answers).joined(separator: "\n\n")
    }

    private func show(_ value: Double?, _ unit: Unit) -> String {
        guard let value else { return "-" }
        return switch unit {
        case .share: Format.percent(value)
        case .number: Format.fixed(value, value < 100 ? 2 : 0)
        case .seconds: Format.fixed(value, 1)
        case .tokensPerSecond: Format.fixed(value, 0)
        }
    }

    private func change(_ row: Row) -> String {
        guard row.unit == .share, let before = row.before, let after = row.after else { return "" }
        let points = (after - before) * 100
        return (points < 0 ? "−" : "+") + Format.fixed(abs(points), 1)
    }

    private static func oneLine(_ text: String) -> String {
        let line = text.split(whereSeparator: \.isNewline).joined(separator: " · ")
        return line.count > 100 ? line.prefix(99) + "…" : line
    }
}

extension MultipleChoice.Report {
    /// The report for people.
    var text: String {
        let counts = "\(outcomes.count) questions, \(Format.duration(seconds))"
        var lines = [
            "accuracy            \(Format.percent(accuracy))\(Format.range(accuracyInterval))",
            "accuracy for length \(Format.percent(accuracyForLength))\(Format.range(accuracyForLengthInterval))",
        ]
        if let calibration {
            lines.append(
                "calibration error   \(Format.percent(calibration.expectedError)) between confidence and accuracy")
        }
        return lines.joined(separator: "\n") + "\n\n" + counts
    }
}

extension Format {
    /// The ends of a share's interval: ` (81.2 to 89.4)`.
    fileprivate static func range(_ interval: ConfidenceInterval?) -> String {
        interval.map { " (\(fixed($0.lower * 100, 1)) to \(fixed($0.upper * 100, 1)))" } ?? ""
    }
}
