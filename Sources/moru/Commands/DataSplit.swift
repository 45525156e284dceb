import ArgumentParser
import MoruBase
import MoruTraining

/// `moru data split`.
struct DataSplit: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "split", abstract: "Split data into a training part and a validation part.",
        usage: """
            moru data split <path> --train <file> --validation <file> [<options>]
            """,
        discussion: """
            Examples with the same or nearly the same question stay on one side, so that
            validation does not reward memorisation. Both parts are JSONL, in the order of
            the data.

            Examples:
              moru data split all.jsonl --train train.jsonl \\
                --validation validation.jsonl --share 0.1 --seed 7
              moru data split reviews.csv --train train.jsonl \\
                --validation validation.jsonl --stratify label --group customer
            """)

    @Argument(help: "A file, folder or pattern.", completion: .file())
    var path: String
    @Option(help: ArgumentHelp("The output file for the training part.", valueName: "file"), completion: .file())
    var train: String
    @Option(help: ArgumentHelp("The output file for the validation part.", valueName: "file"), completion: .file())
    var validation: String
    @Option(help: "The fraction of the examples for validation.")
    var share = 0.1
    @Option(help: "The seed that decides which examples go where.")
    var seed: UInt64 = 0
    @Option(
        help: ArgumentHelp(
            "A field, or a label of the answers, whose values get the same share each; may be repeated.",
            valueName: "name"))
    var stratify: [String] = []
    @Option(help: ArgumentHelp("A field; records with equal values stay on one side.", valueName: "field"))
    var group: String?
    @Option(
        help: ArgumentHelp(
            "Similarity of near-duplicates, from 0.3 to 1; 0 ignores them.", valueName: "share"))
    var similarity = 0.8
    @Flag(help: "Overwrite existing files.")
    var force = false
    @OptionGroup var reading: DataOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        if !(share > 0 && share < 1) { throw ValidationError("--share must be between 0 and 1.") }
        if similarity != 0, !(0.3...1).contains(similarity) {
            throw ValidationError("--similarity must be 0, or from 0.3 to 1.")
        }
    }

    func run() throws {
        var splitter = DataSplitter(reading.source(path))
        (splitter.share, splitter.seed) = (share, seed)
        (splitter.stratifiedBy, splitter.groupField) = (stratify, group)
        splitter.similarity = similarity == 0 ? nil : similarity
        let report: DataSplitter.Report
        do {
            report = try splitter.split(training: train, validation: validation, overwriting: force)
        } catch let error as MoruError where error.code == .fileExists && !force {
            throw MoruError(error.code, error.message, remedy: error.remedy.map { $0 + " with --force" })
        }
        if output.json {
            Terminal.result(report.json.text(pretty: true))
            return
        }
        Terminal.result("\(train): \(report.training) examples\n\(validation): \(report.validation) examples")
        if report.groups > 0 {
            Terminal.result(
                "\(report.groupedExamples) examples in \(report.groups) \(report.groups == 1 ? "group" : "groups") stay together"
            )
        }
        guard !report.strata.isEmpty else { return }
        var table = Table([stratify.joined(separator: ", "), "train", "validation"], [.left, .right, .right])
        for stratum in report.strata { table.add(stratum.name, "\(stratum.training)", "\(stratum.validation)") }
        Terminal.result("\n" + table.text)
    }
}

extension DataSplitter.Report {
    fileprivate var json: JSON {
        [
            "training": .int(training), "validation": .int(validation), "groups": .int(groups),
            "grouped_examples": .int(groupedExamples),
            "strata": .array(
                strata.map {
                    [
                        "values": .string($0.name), "training": .int($0.training), "validation": .int($0.validation),
                    ]
                }),
        ]
    }
}
