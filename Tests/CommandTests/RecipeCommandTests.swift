import Foundation
import MoruBase
import MoruTestKit
import Testing

/// `moru recipe` as a user meets it.
@Suite(.serialized) struct RecipeCommandTests {
    private let home = (TestNeeds.temporaryPath("recipes") as NSString).standardizingPath
    private var moru: BuiltProgram {
        BuiltProgram("moru", environment: ["MORU_HOME": home, "MORU_CONFIG": "", "HOME": home])
    }

    private func withHome(_ body: () throws -> Void) throws {
        try FileSystem.createDirectory(home)
        defer { FileSystem.remove(home) }
        try body()
    }

    @Test func helpFitsATerminal() throws {
        for command in ["list", "copy", "validate", "estimate", "import", "run", "keys"] {
            let help = try moru.run(["recipe", command, "--help"])
            #expect(help.code == 0 && help.output.contains("Examples:"), "\(command)")
            #expect(help.output.split(separator: "\n").allSatisfy { $0.count <= 80 }, "\(command): \(help.output)")
        }
    }

    @Test func aBuiltInRecipeIsCopiedCheckedEstimatedAndRun() throws {
        try withHome {
            let model = home + "/tiny"
            try TestModels.writeTinyDirectory(model)
            let list = try JSON.parse(try moru.run(["recipe", "list", "--json"]).output, source: "list")
            #expect(list.array?.contains { $0["name"] == "lora-chat" } == true)
            let data = (0..<8).map {
                #"{"messages": [{"role": "user", "content": "m\#($0)"}, {"role": "assistant", "content": "a\#($0 % 2)"}]}"#
            }
            try FileSystem.write(data.joined(separator: "\n").utf8, to: home + "/train.jsonl")
            let file = home + "/mine.yaml"
            let copied = try moru.run([
                "recipe", "copy", "prompt-tuning", file, "--set", "model=\(model)", "--set", "data.max_length=64",
                "--set", "data.validation=\(home)/train.jsonl", "--set", "virtual_tokens.count=4",
            ])
            #expect(copied.code == 0, "\(copied.errors)")
            #expect(try moru.run(["recipe", "copy", "lora-chat", file]).code == 6)
            let missing = try moru.run(["recipe", "validate", file, "--set", "data.train=\(home)/absent.jsonl"])
            #expect(missing.code == 3 && missing.errors.contains("absent.jsonl"), "\(missing.errors)")
            let valid = try moru.run(["recipe", "validate", file])
            #expect(valid.code == 0 && valid.output.contains("method: prompt"), "\(valid.errors)")
            let estimate = try moru.run(["recipe", "estimate", file, "--json"])
            let told = try JSON.parse(estimate.output, source: "estimate")
            #expect((told["peak_memory_bytes"]?.int ?? 0) > 1000 && (told["seconds"]?.double ?? 0) > 0)
            #expect(!FileSystem.exists(home + "/runs"), "an estimate writes nothing")
            let run = try moru.run(["recipe", "run", file])
            #expect(run.code == 0 && run.errors.contains("estimate: "), "\(run.errors)")
            #expect(run.output == home + "/runs/mine/adapter\n")
            let samples = try JSON.parse(file: home + "/runs/mine/samples.json")["samples"]?.array ?? []
            #expect(samples.map { $0["prompt"]?.string } == ["m0\n", "m1\n", "m2\n"])
            #expect(samples.allSatisfy { $0["before"]?.string != nil && $0["after"]?.string != nil })
            #expect(try FileSystem.readText(home + "/runs/mine/report.html").contains("<h4>After</h4>"))
            let again = try moru.run(["recipe", "run", file, "--resume", "--json"])
            #expect(try JSON.parse(again.output, source: "run")["adapter"]?.string == home + "/runs/mine/adapter")
        }
    }

    @Test func configurationsOfOthersAreImported() throws {
        try withHome {
            try FileSystem.write(
                "base_model: m\nadapter: lora\nlora_r: 4\nwandb_project: p\n".utf8, to: home + "/a.yml")
            let imported = try moru.run(["recipe", "import", home + "/a.yml", home + "/b.yaml"])
            #expect(imported.code == 0 && imported.output == home + "/b.yaml\n")
            #expect(imported.errors.contains("not carried over: wandb_project"), "\(imported.errors)")
            let json = try JSON.parse(
                try moru.run(["recipe", "import", home + "/a.yml", "--json"]).output, source: "import")
            #expect(json["origin"] == "axolotl" && json["not_carried_over"]?.array?.isEmpty == false)
            let checked = try moru.run(["recipe", "validate", home + "/b.yaml"])
            #expect(checked.code == 3, "the recipe is right, its data is not there: \(checked.errors)")
        }
    }

    @Test(arguments: [
        (["recipe", "copy", "lora-chta"], Int32(3), "did you mean lora-chat?"),
        (["tune", "qlora"], 3, "moru recipe copy qlora"),
        (["recipe", "import", "nosuch.yaml"], 3, "nosuch.yaml"),
        (["recipe", "import", "a", "--from", "trl"], 64, "trl"),
    ])
    func failuresNameWhatIsWrong(arguments: [String], code: Int32, name: String) throws {
        let outcome = try moru.run(arguments)
        #expect(outcome.code == code && outcome.errors.contains(name), "\(outcome.errors)")
    }

    /// Ctrl-C saves, tells the command to go on with, and that command goes on; with one processor, too, which training
    /// keeps busy.
    @Test(arguments: [false, true]) func controlCSavesAndTellsHowToGoOn(onOneProcessor: Bool) throws {
        try withHome {
            let model = home + "/tiny"
            try TestModels.writeTinyDirectory(model)
            try FileSystem.write(#"{"prompt": "a", "completion": "bcdef"}"#.utf8, to: home + "/train.jsonl")
            let recipe = """
                model: \(model)
                data: {train: train.jsonl}
                training: {steps: 100000, save_every: 50000}
                """
            try FileSystem.write(recipe.utf8, to: home + "/long.yaml")
            let events = home + "/runs/long/events.jsonl"
            let outcome = try moru.run(["tune", home + "/long.yaml"], onOneProcessor: onOneProcessor) { process in
                while process.isRunning {
                    usleep(20_000)
                    let text = (try? FileSystem.readText(events)) ?? ""
                    if text.contains("\"step\":5,") { return process.interrupt() }
                }
            }
            #expect(outcome.code == 130, "\(outcome.errors)")
            #expect(outcome.errors.contains("moru tune \(home)/long.yaml --resume"), "\(outcome.errors)")
            let steps = try FileSystem.list(home + "/runs/long/checkpoints").compactMap { Int($0.dropFirst(5)) }
            let reached = try #require(steps.last)
            #expect(reached >= 5)
            let command = ["tune", home + "/long.yaml", "--resume", "--set", "training.log_every=1"]
            let rest = try moru.run(command, onOneProcessor: onOneProcessor) { process in
                while process.isRunning {
                    usleep(20_000)
                    let text = (try? FileSystem.readText(events)) ?? ""
                    if text.contains("\"resumed_step\":\(reached)") { return process.interrupt() }
                }
            }
            #expect(rest.code == 130 && rest.errors.contains("going on after step \(reached)"), "\(rest.errors)")
        }
    }
}
