import ArgumentParser
import Foundation
import MoruBase
import MoruModels
import MoruNN
import MoruTraining

/// `moru tune`: adapts a model to data, as a recipe says.
struct Tune: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Tune a model on your data, with a recipe.",
        usage: "moru tune <recipe> [--set <key>=<value> ...] [<options>]",
        discussion: """
            The recipe is a YAML file; `moru recipe copy lora-chat` prints one to start
            from, and `moru recipe keys` explains each key. The run directory contains the
            adapter in PEFT's layout (adapter/) or the tuned model (model/), the
            checkpoints, events.jsonl and a report with answers before and after
            (report.html). Ctrl-C saves a checkpoint; --resume continues from it, to
            identical losses.

            Examples:
              moru tune Examples/customer-feedback/recipe.yaml
              moru tune recipe.yaml --set training.epochs=2 --set lora.rank=16
              moru tune recipe.yaml --resume
            """)

    @OptionGroup var options: TuningOptions

    func run() async throws { try await options.run(command: "tune") }
}

/// What `moru tune` and `moru recipe run` are asked.
struct TuningOptions: ParsableArguments {
    @OptionGroup var recipe: RecipeArgument
    @Flag(help: "Continue the run in the output directory.")
    var resume = false
    @Flag(help: "Discard the run in the output directory.")
    var overwrite = false
    @OptionGroup var output: OutputOptions

    func validate() throws {
        if resume, overwrite { throw ValidationError("--resume and --overwrite exclude each other.") }
    }

    /// Tunes, as the command of a name.
    func run(command: String) async throws {
        let recipe = try recipe.read()
        let gates = try TuningGates(recipe)
        let display = RunDisplay("tuning", heldOut: "validation")
        let result: TuningResult
        do {
            var tuning = try recipe.tuning()
            tuning.existingRun = existingRun
            if let tuning = tuning as? Tuning {
                result = try await tune(tuning, display)
            } else {
                let interruption = Interruption()
                result = try tuning.run(events: { display.show($0) }, isCancelled: { interruption.isRequested })
                display.finish()
            }
        } catch let error as MoruError where error.code == .cancelled {
            display.finish()
            throw MoruError(
                .cancelled, "stopped; what was done is saved", remedy: "go on with: \(resumeCommand(command))")
        } catch let error as MoruError where error.code == .runExists {
            throw MoruError(
                .runExists, error.message,
                remedy: "go on with it (--resume), throw it away (--overwrite), or choose another directory "
                    + "(--set output=DIRECTORY)")
        } catch {
            display.finish()
            throw error
        }
        try RunEnvironment.write(to: recipe.output, version: Moru.version)
        try RunReport.write(recipe.output)
        let comparison = try await gates?.measure(result)
        if output.json {
            var json = result.summary.json.object ?? JSONObject()
            json[result.isAdapter ? "adapter" : "model"] = .string(result.directory)
            if let comparison {
                json["gates"] = .array(comparison.gates.map(\.json))
                json["passed"] = .bool(comparison.passes)
            }
            Terminal.result(JSON.object(json).text(pretty: true))
        } else {
            let what = result.isAdapter ? "adapter" : "model"
            Terminal.talk("tuned in \(Format.duration(result.summary.seconds)); the \(what) is ready:")
            Terminal.result(result.directory)
        }
        try comparison?.requireGates(report: recipe.output + "/evaluation.html", isShown: !output.json)
    }

    private var existingRun: ExistingRun { resume ? .resume : overwrite ? .overwrite : .refuse }

    /// Tunes a model that generates, and notes what it answers before and after.
    private func tune(_ tuning: Tuning, _ display: RunDisplay) async throws -> TuningResult {
        let recipe = tuning.recipe
        let interruption = Interruption()
        var samples = try RunSamples.read(recipe.output, resuming: resume)
        let prepared = try tuning.prepared(isCancelled: { interruption.isRequested })
        let prompts = try RunSamples.TuningPrompt.read(recipe, tuning.model)
        if !samples.answer(prompts) { samples = try await RunSamples.make(prepared.model, prompts: prompts) }
        let before = samples
        let result = try prepared.run(
            events: { event in
                // Only now does the directory belong to this run
                if case .started = event { try? before.write(to: recipe.output) }
                display.show(event)
            }, isCancelled: { interruption.isRequested })
        display.finish()
        let tuned = result.isAdapter ? tuning.model : try PretrainedModel.load(result.directory)
        let adapter = result.isAdapter ? try AdapterDirectory.load(from: result.directory, for: tuned.model) : nil
        samples = try await samples.continued(by: tuned, adapter: adapter, prompts: prompts)
        try samples.write(to: recipe.output)
        return result
    }

    /// What goes on with this run, to be typed into a shell.
    private func resumeCommand(_ command: String) -> String {
        var words = ["moru"] + command.split(separator: " ").map(String.init)
        words.append(recipe.recipe)
        for override in recipe.overrides { words += ["--set", override] }
        words.append("--resume")
        return words.map(Self.quoted).joined(separator: " ")
    }

    static func quoted(_ word: String) -> String {
        let isPlain = !word.isEmpty && word.allSatisfy { $0.isLetter || $0.isNumber || "-_=./,:+@%".contains($0) }
        return isPlain ? word : "'" + word.replacing("'", with: #"'\''"#) + "'"
    }
}
