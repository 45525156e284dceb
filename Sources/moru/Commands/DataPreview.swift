import ArgumentParser
import MoruBase
import MoruTraining

/// `moru data preview`.
struct DataPreview: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "preview", abstract: "Show examples as the model sees them, and which tokens are trained on.",
        usage: "moru data preview <path> --model <model> [<options>]",
        discussion: """
            Trained tokens are green in a terminal and in [brackets] elsewhere.

            Examples:
              moru data preview train.jsonl --model smollm2-135m-instruct
              moru data preview train.jsonl --model smollm2-135m-instruct \\
                --train-on user --train-on assistant -n 1
              moru data preview train.jsonl --model smollm2-135m-instruct --json
            """)

    @Argument(help: "A file, folder or pattern.", completion: .file())
    var path: String
    @Option(help: "The model whose tokens and chat template are used.")
    var model: String
    @Option(name: [.customShort("n"), .customLong("count")], help: "How many examples.")
    var count = 3
    @Option(help: ArgumentHelp("How many examples to skip first.", valueName: "count"))
    var skip = 0
    @OptionGroup var reading: DataOptions
    @OptionGroup var learning: LearnedOption
    @OptionGroup var output: OutputOptions

    func validate() throws {
        if count < 1 { throw ValidationError("-n must be at least 1.") }
        if skip < 0 { throw ValidationError("--skip must be at least 0.") }
    }

    func run() throws {
        var encoder = ExampleEncoder(try ModelArgument.load(model))
        encoder.learned = learning.learned
        let previews = try ExamplePreview.read(
            reading.source(path), encoder: encoder, count: count, skipping: skip)
        if output.json {
            Terminal.result(JSON.array(previews.map(\.json)).text(pretty: true))
            return
        }
        for preview in previews {
            let side = preview.side.map { ", \($0)" } ?? ""
            Terminal.result(
                "── \(preview.place)\(side): \(preview.targetCount) of \(preview.tokens.count) tokens are trained on")
            Terminal.result(preview.runs.map(Self.shown).joined() + "\n")
        }
    }

    private static func shown(_ run: ExamplePreview.Run) -> String {
        guard Terminal.resultShowsColor else { return run.isTarget ? "[\(run.text)]" : run.text }
        return "\u{1B}[\(run.isTarget ? "1;32" : "2")m\(run.text)\u{1B}[0m"
    }
}

extension ExamplePreview {
    fileprivate var json: JSON {
        var object = JSONObject([("place", .string(place.description))])
        if let side { object["side"] = .string(side) }
        object["learnt"] = .int(targetCount)
        object["runs"] = .array(runs.map { ["text": .string($0.text), "learnt": .bool($0.isTarget)] })
        object["tokens"] = .array(
            tokens.map { ["id": .int(Int($0.id)), "piece": .string($0.piece), "learnt": .bool($0.isTarget)] })
        return .object(object)
    }
}
