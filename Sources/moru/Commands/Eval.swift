import ArgumentParser
import Foundation
import MoruBase
import MoruEngine
import MoruTrust

/// `moru eval`: how well a model answers labelled examples.
struct Eval: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Measure a model on labelled examples.",
        usage: "moru eval <model> <data> [<options>]",
        discussion: """
            DATA is JSONL: lines with messages that end with the right answer, with prompt
            and completion, or with text and label. Answers are greedy. An answer of lines
            "name: value", a JSON object, or a bare label gives labels, for which
            accuracy, precision, recall, F1 and a confusion matrix are printed; exact
            match and perplexity are printed always. An answer that puts the label in
            other words is understood where it is unambiguous, so that an untuned model is
            judged fairly. --metric compares answers of any text with the references.
            Every figure comes with the interval that holds it 95 times of 100.

            Examples:
              moru eval smollm2-135m-instruct Examples/customer-feedback/test.jsonl
              moru eval smollm2-135m-instruct summaries.jsonl \\
                --metric rougeL --metric chrf
              moru eval smollm2-135m-instruct test.jsonl --save base.json
              moru eval smollm2-135m-instruct test.jsonl --adapter ./adapter --json
              moru eval smollm2-135m-instruct test.jsonl --adapter ./adapter \\
                --against base.json
            """)

    @OptionGroup var model: ModelArgument
    @Argument(help: "The labelled examples.", completion: .file(extensions: ["jsonl"]))
    var data: String
    @OptionGroup var adapter: AdapterOption
    @Option(parsing: .unconditional, help: "Use only the first N examples.")
    var limit: Int?
    @Option(name: .customLong("max-tokens"), parsing: .unconditional, help: "The most tokens of an answer.")
    var maximumTokens = 48
    @Option(parsing: .unconditional, help: "What to ask of text and label lines, as the system message.")
    var instruction: String?
    @Option(name: .customLong("label"), help: "A label to report; may be repeated. Default: all that the data gives.")
    var labels: [String] = []
    @Option(
        name: .customLong("metric"),
        help: ArgumentHelp(
            "Compare texts by bleu, chrf, chrf++, rouge1, rouge2, rougeL, wer or cer; may be repeated.",
            valueName: "name"))
    var metrics: [TextMetric] = []
    @Flag(help: "With --json, list every example with its answer.")
    var outcomes = false
    @Option(
        help: ArgumentHelp("Write the whole report, with every answer, to this JSON file.", valueName: "file"),
        completion: .file())
    var save: String?
    @Option(
        help: ArgumentHelp("Compare with a report that --save wrote earlier.", valueName: "file"),
        completion: .file(extensions: ["json"]))
    var against: String?
    @OptionGroup var output: OutputOptions

    func validate() throws {
        if let limit, limit < 1 { throw ValidationError("--limit must be at least 1.") }
        if maximumTokens < 1 { throw ValidationError("--max-tokens must be at least 1.") }
        if outcomes, !output.json { throw ValidationError("--outcomes needs --json.") }
    }

    func run() async throws {
        // What can be known to fail is not found out after minutes of work
        let before = try against.map { try JSON.parse(file: $0) }
        if let save, FileSystem.isDirectory(save) {
            throw MoruError(.fileUnwritable, "\(save) is a directory", remedy: "give --save the name of a file")
        }
        let examples = try EvaluationExample.read(data, limit: limit, instruction: instruction)
        let pretrained = try model.load()
        let evaluation = Evaluation(
            try TextGenerator(pretrained), examples, adapter: try adapter.load(for: pretrained),
            maximumTokens: maximumTokens, labels: labels.isEmpty ? nil : labels, metrics: metrics)
        let line = ProgressLine("evaluating", unit: "examples")
        defer { line.finish() }
        let report = try await evaluation.run { line.update($0.done, of: $0.total) }
        line.finish()
        if let save {
            do {
                try FileSystem.write(report.json(includingOutcomes: true).text(pretty: true).utf8, to: save)
            } catch {
                // The work is not lost with the file
                Terminal.result(output.json ? report.json(includingOutcomes: true).text(pretty: true) : report.text)
                throw error
            }
        }
        if let against, let before {
            let comparison = try EvaluationComparison(before: before, after: report, source: against)
            Terminal.result(output.json ? comparison.json.text(pretty: true) : comparison.text)
        } else {
            Terminal.result(output.json ? report.json(includingOutcomes: outcomes).text(pretty: true) : report.text)
        }
    }
}

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
                "accuracy \(Format.percent(metrics.accuracy))\(Self.range(metrics.accuracyInterval)), "
                    + "macro F1 \(Format.percent(metrics.macroF1))\(Self.range(metrics.macroF1Interval))"
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
            "exact match \(Format.percent(exactMatch))\(Self.range(exactMatchInterval)) of \(outcomes.count) examples, "
                + "perplexity \(Format.fixed(perplexity.value, 3)) over \(perplexity.tokens) tokens, "
                + "\(Format.fixed(bitsPerByte, 3)) bits per byte")
        parts.append(
            "\(Format.duration(seconds)), \(Int(tokensPerSecond)) tokens/s "
                + "(\(promptTokens) read, \(generatedTokens) written)")
        return parts.joined(separator: "\n\n")
    }

    /// The ends of a share's interval: ` (81.2 to 89.4)`.
    private static func range(_ interval: ConfidenceInterval?) -> String {
        interval.map { " (\(Format.fixed($0.lower * 100, 1)) to \(Format.fixed($0.upper * 100, 1)))" } ?? ""
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
