import ArgumentParser
import Foundation
import MoruBase
import MoruEngine
import MoruTraining
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

            Lines with question, choices and answer (its place from 0, letter or text)
            are multiple choice: the likeliest answer counts, by its log-probability
            and by that for its length, as in the lm-eval harness.

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
        if try isMultipleChoice() { return try await askQuestions() }
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

    /// Whether the data's first line is a question with choices.
    private func isMultipleChoice() throws -> Bool {
        var reader = try JSONLReader(path: data)
        guard let first = try reader.next(), MultipleChoiceExample.describes(first.value) else { return false }
        let unused = [
            ("--against", against != nil), ("--instruction", instruction != nil), ("--label", !labels.isEmpty),
            ("--metric", !metrics.isEmpty),
        ].filter(\.1).map(\.0)
        guard unused.isEmpty else {
            throw ValidationError("\(data) is multiple choice, for which \(unused.joined(separator: ", ")) has no use.")
        }
        return true
    }

    private func askQuestions() async throws {
        let questions = try MultipleChoiceExample.read(data, limit: limit)
        let pretrained = try model.load()
        let choice = MultipleChoice(
            try TextGenerator(pretrained), questions, adapter: try adapter.load(for: pretrained))
        let line = ProgressLine("asking", unit: "questions")
        defer { line.finish() }
        let report = try await choice.run { line.update($0.done, of: $0.total) }
        line.finish()
        Terminal.result(output.json ? report.json(includingOutcomes: outcomes).text(pretty: true) : report.text)
        if let save { try FileSystem.write(report.json(includingOutcomes: true).text(pretty: true).utf8, to: save) }
    }
}
