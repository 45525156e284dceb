import ArgumentParser
import MoruBase
import MoruModels
import MoruTraining

/// `moru data`: what training data is, and how it is made ready.
struct DataCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "data", abstract: "Inspect training data, preview what is trained on, split it.",
        discussion: """
            Data is JSONL, a JSON array, CSV or TSV with a header, or a folder of text files.
            All examples have the same shape:
              chat            messages, or conversations with from and value
              completion      prompt and completion
              instruction     instruction and output, optionally input
              classification  text and label
              preference      prompt, chosen and rejected
              text            text

            Examples:
              moru data inspect train.jsonl
              moru data preview train.jsonl --model smollm2-135m-instruct
              moru data split all.jsonl --train train.jsonl \\
                --validation validation.jsonl
            """,
        subcommands: [DataInspect.self, DataPreview.self, DataSplit.self])
}

/// How data is read.
struct DataOptions: ParsableArguments {
    @Option(help: ArgumentHelp("The format of the files, if their names do not tell.", valueName: "format"))
    var format: DataFileFormat?
    @Option(help: ArgumentHelp("The shape of the examples, if their fields are ambiguous.", valueName: "shape"))
    var shape: ExampleShape?
    @Option(
        name: .customLong("field"),
        help: ArgumentHelp(
            "Another name for a field, as in prompt=question; may be repeated.", valueName: "name=field"))
    var fields: [String] = []
    @Option(
        help: ArgumentHelp("The separator of CSV values; usually detected from the header.", valueName: "character"))
    var delimiter: String?
    @Option(parsing: .unconditional, help: "For text and label: the system message that asks for the label.")
    var instruction: String?
    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("For text and label: a text with {text} and {label} in it.", valueName: "text"))
    var template: String?

    func validate() throws {
        if let delimiter, delimiter != "\\t", delimiter.count != 1 {
            throw ValidationError("--delimiter must be one character, or \\t.")
        }
        for field in fields where field.split(separator: "=", omittingEmptySubsequences: false).count != 2 {
            throw ValidationError("--field must be NAME=FIELD, as in prompt=question.")
        }
    }

    /// A source that is read this way.
    func source(_ path: String) -> DataSource {
        var names: [String: String] = [:]
        for field in fields {
            let parts = field.split(separator: "=", maxSplits: 1).map(String.init)
            if parts.count == 2 { names[parts[0]] = parts[1] }
        }
        return DataSource(
            path, format: format, shape: shape, fields: names,
            delimiter: delimiter == "\\t" ? "\t" : delimiter?.first,
            classification: ClassificationPrompt(instruction: instruction, template: template))
    }
}

/// Which parts of examples are learnt.
struct LearnedOption: ParsableArguments {
    @Option(
        name: .customLong("train-on"),
        help: ArgumentHelp("A role whose messages to train on, or all; may be repeated.", valueName: "role"))
    var roles: [String] = ["assistant"]

    /// The roles.
    var learned: LearnedRoles { roles.contains("all") ? .all : LearnedRoles(Set(roles)) }
}

extension DataFileFormat: ExpressibleByArgument {}
extension ExampleShape: ExpressibleByArgument {}
