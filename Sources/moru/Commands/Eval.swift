import ArgumentParser
import Foundation
import MoruBase
import MoruTrust

/// `moru eval`: how well models answer labelled examples, choose among answers, or predict texts.
struct Eval: AsyncParsableCommand {
    /// The exit code of an evaluation that a gate fails.
    static let gateExitCode = ExitCode(8)

    static let configuration = CommandConfiguration(
        abstract: "Evaluate models on labelled examples, multiple-choice questions or texts.",
        usage: """
            moru eval <model> <data> [<options>]
            moru eval --model <model> --model <model> ... <data> [<options>]
            moru eval --recipe <recipe> [--set <key>=<value> ...] [<options>]
            """,
        discussion: """
            DATA is JSONL: records with messages that end with the reference answer, with
            prompt and completion, or with text and label. Decoding is greedy. Answers
            that consist of lines "name: value", a JSON object or a single label are parsed
            into labels: accuracy, precision, recall, F1 and a confusion matrix. Exact match
            and perplexity are always printed. An answer that phrases a label differently
            is accepted if it is unambiguous, to judge an untuned model fairly. --metric
            compares free text with the references. Every figure has a 95 % confidence
            interval.

            Records with question, choices and answer (index from 0, letter or text) are
            multiple choice: the likeliest answer counts, by log-probability and by
            length-normalised log-probability, as in the lm-eval harness. For records with
            only text, text files and folders: perplexity and bits per byte.

            A model with a head (as used by moru classify and moru extract) is evaluated
            with its head. Records with text and label, or text and value: accuracy, F1,
            confusion matrix and calibration, or RMSE, MAE and Pearson's correlation.
            Records with text and labels, or text and entities: precision, recall and F1 of
            the labels, or of whole spans.

            Several models, or a model with adapters, are compared side by side; ▲ and ▼
            mark figures that are better or worse than the first model's by more than
            chance. --gate sets conditions: if one fails, the exit code is 8.

            Examples:
              moru eval smollm2-135m-instruct Examples/customer-feedback/test.jsonl
              moru eval smollm2-135m-instruct summaries.jsonl \\
                --metric rougeL --metric chrf
              moru eval smollm2-135m-instruct test.jsonl --save base.json
              moru eval smollm2-135m-instruct test.jsonl --adapter ./adapter \\
                --against base.json --gate 'accuracy >= 0.8' --report eval.html
              moru eval --model a.gguf --model b.gguf texts/ --json
              moru eval smollm2-135m-instruct test.jsonl --adapter runs/sentiment/adapter
              moru eval --recipe eval.yaml
            """)

    @Argument(
        help: ArgumentHelp(
            "A model that `moru models` lists, a directory or a .gguf file; then the examples.",
            valueName: "model> <data"),
        completion: .file())
    var arguments: [String] = []
    @Option(
        name: .customLong("model"),
        help: ArgumentHelp("A model to evaluate, instead of the argument; may be repeated.", valueName: "model"))
    var models: [String] = []
    @Option(
        name: .customLong("adapter"),
        help: ArgumentHelp(
            "An adapter in PEFT's layout to use with the (first) model; may be repeated.",
            valueName: "[name=]directory"))
    var adapters: [String] = []
    @Option(
        help: ArgumentHelp("A recipe with all of the settings below, and the models.", valueName: "file"),
        completion: .file(extensions: ["yaml", "yml"]))
    var recipe: String?
    @Option(
        name: .customLong("set"),
        help: ArgumentHelp("Override a key of the recipe; may be repeated.", valueName: "key=value"))
    var overrides: [String] = []
    @Option(parsing: .unconditional, help: "Use only the first N examples.")
    var limit: Int?
    @Option(
        name: .customLong("max-tokens"), parsing: .unconditional, help: "The maximum number of tokens in an answer.")
    var maximumTokens: Int?
    @Option(parsing: .unconditional, help: "The maximum number of tokens read at once. Default: the context length.")
    var window: Int?
    @Option(parsing: .unconditional, help: "For text and label: the system message that asks for the label.")
    var instruction: String?
    @Option(name: .customLong("label"), help: "A label to report; may be repeated. Default: all labels in the data.")
    var labels: [String] = []
    @Option(
        name: .customLong("metric"),
        help: ArgumentHelp(
            "Compare texts by bleu, chrf, chrf++, rouge1, rouge2, rougeL, wer or cer; may be repeated.",
            valueName: "name"))
    var metrics: [TextMetric] = []
    @Option(
        name: .customLong("gate"),
        help: ArgumentHelp(
            "A condition such as 'accuracy >= 0.8', 'f1.lower >= 0.7' at the interval's end, or "
                + "'accuracy.change >= 0' from the first model; may be repeated.",
            valueName: "condition"))
    var gates: [String] = []
    @Flag(help: "With --json, list every example with its answer.")
    var outcomes = false
    @Option(
        help: ArgumentHelp("Write a page with the figures, charts and worst errors.", valueName: "file.html"),
        completion: .file(extensions: ["html"]))
    var report: String?
    @Option(
        help: ArgumentHelp("Write the complete report, with every answer, to this JSON file.", valueName: "file"),
        completion: .file())
    var save: String?
    @Option(
        help: ArgumentHelp("Compare with a report that --save wrote earlier.", valueName: "file"),
        completion: .file(extensions: ["json"]))
    var against: String?
    @OptionGroup var output: OutputOptions

    func validate() throws {
        for (name, number, least) in [("limit", limit, 1), ("max-tokens", maximumTokens, 1), ("window", window, 2)] {
            if let number, number < least { throw ValidationError("--\(name) must be at least \(least).") }
        }
        if outcomes, !output.json { throw ValidationError("--outcomes needs --json.") }
        if recipe != nil {
            if !arguments.isEmpty || !models.isEmpty || !adapters.isEmpty {
                throw ValidationError("--recipe names models and data itself.")
            }
        } else if !overrides.isEmpty {
            throw ValidationError("--set overrides keys of a --recipe.")
        } else if arguments.count != (models.isEmpty ? 2 : 1) {
            throw ValidationError(
                models.isEmpty ? "Give a model and the data: moru eval <model> <data>." : "Give the data after --model."
            )
        }
    }

    func run() async throws {
        let recipe = try settings()
        let run = try EvaluationRun(recipe, path: ModelArgument.path) { try ModelArgument.load($0) }
        let line = ProgressLine("evaluating", unit: "examples")
        defer { line.finish() }
        let severalModels = recipe.models.count > 1
        let comparison = try await run.run { progress in
            line.update(progress.done, of: progress.total, detail: severalModels ? progress.model : "")
        }
        line.finish()
        // The work is not lost where a file cannot be written
        Terminal.result(
            output.json ? comparison.result(includingOutcomes: outcomes).text(pretty: true) : comparison.text)
        if let save = recipe.save {
            try FileSystem.write(comparison.result(includingOutcomes: true).text(pretty: true).utf8, to: save)
        }
        if let report = recipe.report {
            try FileSystem.write(EvaluationPage(comparison, recipe).html.utf8, to: report)
            Terminal.talk("report: \(report)")
        }
        try comparison.requireGates()
    }

    /// What the recipe and the options say together.
    private func settings() throws -> EvaluationRecipe {
        var settings: EvaluationRecipe
        if let recipe {
            settings = try EvaluationRecipe(file: recipe, overrides: overrides)
        } else {
            settings = EvaluationRecipe(data: arguments.last ?? "", models: try namedModels())
        }
        if let limit { settings.limit = limit }
        if let maximumTokens { settings.maximumTokens = maximumTokens }
        if let window { settings.windowLength = window }
        if let instruction { settings.instruction = instruction }
        if !labels.isEmpty { settings.labels = labels }
        if !metrics.isEmpty { settings.metrics = metrics }
        settings.gates += try gates.map { try Gate($0) }
        if let report { settings.report = report }
        if let save { settings.save = save }
        if let against { settings.against = against }
        return settings
    }

    /// The models: one with each of its adapters, or several, and adapters of the first.
    private func namedModels() throws -> [EvaluationRecipe.Model] {
        let first = models.first ?? arguments[0]
        let adapted = adapters.map { adapter in
            // A path that exists may hold an equals sign
            let parts = adapter.split(separator: "=", maxSplits: 1).map(String.init)
            let isNamed = parts.count == 2 && !FileSystem.exists(adapter)
            return EvaluationRecipe.Model(
                name: isNamed ? parts[0] : nil, model: first, adapter: isNamed ? parts[1] : adapter)
        }
        return models.isEmpty && !adapted.isEmpty
            ? adapted : (models.isEmpty ? [first] : models).map { EvaluationRecipe.Model(model: $0) } + adapted
    }
}
