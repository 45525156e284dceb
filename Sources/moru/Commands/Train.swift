import ArgumentParser
import Foundation
import MoruBase
import MoruEngine
import MoruModels
import MoruTraining

/// `moru train`: trains a tokenizer and a language model from scratch.
struct Train: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Train a tokenizer and a language model from scratch.",
        usage: "moru train <recipe or texts> ... [--size <size>] [<options>]",
        discussion: """
            Give a recipe (.yaml), or texts: files, folders or patterns, plain or JSONL
            with the field text. One dial, --size, decides the rest; --set overrides
            any of it. The run directory gets tokenizer/, data/ (tokens, mapped from
            disk), model/ (for moru generate, moru tune and transformers), report.html,
            events.jsonl and the checkpoints. Ctrl-C saves; --resume goes on.

              size   parameters  dim  layers  context  vocabulary  tokens a step
              nano        1.1 M  128       4      256        2048           4096
              micro       6.9 M  256       6      512        8192           8192
              small        34 M  512       8     1024       16384          32768
              base        110 M  768      12     2048       32768         131072

            Recurrent models (lstm, gru) have two layers and as many parameters.

            Examples:
              moru train corpus/ --size nano --output runs/first
              moru train books/*.txt --architecture lstm --set training.epochs=3
              moru train recipe.yaml --set size=micro --set model.layers=4
              moru train recipe.yaml --resume
            """)

    @Argument(help: "A recipe (.yaml), or texts to train on.")
    var inputs: [String]
    @Option(help: "llama, gpt2, lstm or gru; default llama.")
    var architecture: String?
    @Option(help: "nano, micro, small or base; default micro.")
    var size: String?
    @Option(help: ArgumentHelp("The run's directory; default runs/model.", valueName: "directory"))
    var output: String?
    @Option(
        name: .customLong("set"),
        help: ArgumentHelp("Override a key of the recipe; may be repeated.", valueName: "key=value"))
    var overrides: [String] = []
    @Flag(help: "Continue the run in the output directory.")
    var resume = false
    @Flag(help: "Discard the run in the output directory.")
    var overwrite = false
    @OptionGroup var format: OutputOptions

    func validate() throws {
        if resume, overwrite { throw ValidationError("--resume and --overwrite exclude each other.") }
        if inputs.contains(where: isRecipe), inputs.count > 1 {
            throw ValidationError("Give one recipe, or texts, not both; texts of a recipe are --set data.train=...")
        }
    }

    private func isRecipe(_ path: String) -> Bool { path.hasSuffix(".yaml") || path.hasSuffix(".yml") }

    private func recipe() throws(MoruError) -> PretrainingRecipe {
        let options = [("architecture", architecture), ("size", size), ("output", output)]
            .compactMap { key, value in value.map { "\(key)=\($0)" } }
        if let path = inputs.first, isRecipe(path) {
            return try PretrainingRecipe(file: path, overrides: options + overrides)
        }
        let paths = inputs.map { JSON.string($0).text() }.joined(separator: ", ")
        return try PretrainingRecipe(
            yaml: "data: {train: [\(paths)]}", source: "the command", overrides: options + overrides)
    }

    func run() async throws {
        let recipe = try recipe()
        var pretraining = Pretraining(recipe)
        pretraining.existingRun = resume ? .resume : overwrite ? .overwrite : .refuse
        let display = TrainDisplay()
        let interruption = Interruption()
        let prepared: PreparedPretraining
        let result: PretrainingResult
        var samples = try RunSamples.read(recipe.output, resuming: resume)
        do {
            prepared = try pretraining.prepared(
                report: { display.show($0) }, isCancelled: { interruption.isRequested })
            display.show(prepared.facts, prepared.model)
            try RunEnvironment.write(to: recipe.output, version: Moru.version)
            if samples.isEmpty { samples = try await RunSamples.make(prepared.model, prompts: recipe.prompts) }
            try samples.write(to: recipe.output)
            result = try prepared.train(
                events: { display.show($0) }, isCancelled: { interruption.isRequested })
        } catch let error as MoruError where error.code == .cancelled {
            display.finish()
            throw MoruError(.cancelled, "stopped; what was done is saved", remedy: "go on with: \(resumeCommand)")
        } catch let error as MoruError where error.code == .runExists {
            throw MoruError(
                .runExists, error.message,
                remedy: "go on with it (--resume), throw it away (--overwrite), or choose another directory (--output)")
        } catch {
            display.finish()
            throw error
        }
        display.finish()
        samples = try await samples.continued(by: PretrainedModel.load(result.modelDirectory))
        try samples.write(to: recipe.output)
        try RunReport.write(recipe.output)
        if format.json {
            var json = result.summary.json.object ?? JSONObject()
            json["model"] = .string(result.modelDirectory)
            json["parameters"] = .int(result.parameters)
            json["bits_per_byte"] = result.bitsPerByte.map { .double($0) } ?? .null
            Terminal.result(JSON.object(json).text(pretty: true))
            return
        }
        let quality = result.bitsPerByte.map { ", \(Format.fixed($0, 3)) bits per byte of held-out text" } ?? ""
        Terminal.talk("trained in \(Format.duration(result.summary.seconds))\(quality)")
        Terminal.talk("the report: \(recipe.output)/report.html; the model is ready:")
        Terminal.result(result.modelDirectory)
    }

    /// What goes on with this run, to be typed into a shell.
    private var resumeCommand: String {
        var words = ["moru", "train"] + inputs
        for (name, value) in [("architecture", architecture), ("size", size), ("output", output)] {
            if let value { words += ["--" + name, value] }
        }
        words += overrides.flatMap { ["--set", $0] } + ["--resume"]
        return words.map(TuningOptions.quoted).joined(separator: " ")
    }
}

/// Shows how a training from scratch goes.
private final class TrainDisplay {
    private var line = ProgressLine("training the tokenizer", unit: "bytes")
    private var stage = 0
    private let run = RunDisplay("training", heldOut: "held-out")

    func show(_ preparation: Pretraining.Preparation) {
        switch preparation {
        case .tokenizer(.counting(let bytes)):
            begin(1, "counting words", unit: "bytes")
            line.update(bytes, of: nil)
        case .tokenizer(.learning(let pieces, let wanted)):
            begin(2, "learning a vocabulary", unit: "pieces")
            line.update(pieces, of: nil, detail: "on the way to \(wanted)")
        case .tokenizerReady(let path, let size):
            line.finish()
            Terminal.talk("tokenizer: \(size) ids, \(path)")
        case .tokens(let progress):
            begin(3, "tokenising", unit: "tokens")
            line.update(progress.tokens, of: nil, detail: ByteCount.text(progress.bytes))
        }
    }

    private func begin(_ stage: Int, _ title: String, unit: String) {
        guard stage != self.stage else { return }
        line.finish()
        (line, self.stage) = (ProgressLine(title, unit: unit), stage)
    }

    func show(_ facts: Pretraining.Facts, _ model: PretrainedModel) {
        line.finish()
        Terminal.talk(
            "\(model.model.facts.architecture), \(Format.count(facts.parameters)) parameters "
                + "(\(ByteCount.text(facts.stateBytes)) with gradients and optimizer); "
                + "\(Format.count(facts.trainingTokens)) tokens to learn, "
                + "\(Format.count(facts.validationTokens)) held out, "
                + "\(Format.fixed(facts.bytesPerToken, 2)) bytes a token")
    }

    func show(_ event: TrainingEvent) { run.show(event) }

    func finish() {
        line.finish()
        run.finish()
    }
}
