import ArgumentParser
import Foundation
import MoruBase
import MoruTensor

/// The command line of Moru.
@main
struct Moru: AsyncParsableCommand {
    static let version = MoruVersion.current

    static let configuration = CommandConfiguration(
        commandName: "moru",
        abstract: "Make a foundation model yours, check it, and serve it.",
        discussion: """
            A first session:
              moru pull smollm2-135m-instruct
              moru chat smollm2-135m-instruct
              moru tune Examples/customer-feedback/recipe.yaml
              moru serve smollm2-135m-instruct

            Results go to standard output, everything else to standard error.

            Exit codes: 0 done, 1 a defect in moru, 2 malformed input or setting,
            3 not found, 4 not supported, 5 a limit (context, memory, disk),
            6 in use elsewhere, 7 file system or network, 8 a gate of moru eval
            failed, 64 wrong usage, 130 interrupted.
            """,
        version: version,
        subcommands: [
            Pull.self, Models.self, Show.self, Chat.self, Generate.self, Classify.self, Extract.self, Embed.self,
            Tokenize.self, Train.self, Tune.self, RecipeCommand.self, Runs.self, DataCommand.self, Eval.self,
            Merge.self, Export.self, Quantize.self, Serve.self, Deploy.self, Bench.self, Config.self, Doctor.self,
        ])

    static func main() async {
        Terminal.openMissingStreams()
        do {
            var command = try parseAsRoot()
            if let problem = Runtime.shared.problem { throw problem }
            if var asynchronous = command as? any AsyncParsableCommand {
                try await asynchronous.run()
            } else {
                try command.run()
            }
        } catch let error as MoruError {
            Terminal.finish(failing: error)
        } catch is CancellationError {
            Terminal.finish(failing: MoruError(.cancelled, "stopped"))
        } catch {
            exit(withError: error)
        }
    }
}
