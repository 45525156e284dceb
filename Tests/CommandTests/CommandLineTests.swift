import Foundation
import MoruBase
import MoruTestKit
import Testing

/// The `moru` program as a user meets it: results, talk and exit codes.
@Suite(.serialized) struct CommandLineTests {
    private let home = TestNeeds.temporaryPath("home")
    private var moru: BuiltProgram {
        BuiltProgram("moru", environment: ["MORU_HOME": home, "MORU_CONFIG": "", "HOME": home])
    }

    private func withTinyModel(_ body: (String) throws -> Void) throws {
        let model = home + "/tiny"
        try TestModels.writeTinyDirectory(model)
        defer { FileSystem.remove(home) }
        try body(model)
    }

    @Test func helpNamesEveryCommandAndFitsATerminal() throws {
        let outcome = try moru.run(["--help"])
        #expect(outcome.code == 0 && outcome.errors.isEmpty)
        let commands = [
            "pull", "models", "show", "chat", "generate", "embed", "tokenize", "train", "tune", "recipe", "runs",
            "data", "eval", "serve", "config", "doctor", "merge", "export", "quantize",
            "classify", "extract", "deploy",
        ]
        for command in commands {
            #expect(outcome.output.contains("  \(command) "), "\(command) is missing")
            let help = try moru.run([command, "--help"])
            #expect(help.code == 0 && (help.output.contains("Examples:") || command == "config"), "\(command) --help")
            let widest = help.output.split(separator: "\n").map(\.count).max() ?? 0
            #expect(widest <= 80, "\(command) --help is \(widest) columns wide")
        }
    }

    @Test func tokenizePrintsIDsAndPieces() throws {
        try withTinyModel { model in
            let outcome = try moru.run(["tokenize", model, "-p", "Aé<|im_end|>", "--json"])
            let json = try JSON.parse(outcome.output, source: "output")
            #expect(json["ids"]?.ints == [65, 0xC3, 0xA9, 258])
            #expect(json["pieces"]?.array?.last == "<|im_end|>")
            #expect(outcome.code == 0 && outcome.errors.isEmpty)
        }
    }

    @Test func errorsQuoteWithoutSteeringTheTerminal() throws {
        try withTinyModel { model in
            let long = String(repeating: "x", count: 20_000)
            let config: JSON = ["eos_token": .string("\u{1B}[2J" + long)]
            try FileSystem.write(config.text().utf8, to: model + "/tokenizer_config.json")
            let outcome = try moru.run(["tokenize", model, "-p", "a"])
            #expect(outcome.code == 2 && !outcome.errors.contains("\u{1B}"), "\(outcome)")
            #expect(outcome.errors.contains("\\u{1B}[2J") && outcome.errors.utf8.count < 5000)
        }
    }

    @Test func generateKeepsItsContractAndItsSeed() throws {
        try withTinyModel { model in
            let arguments = [
                "generate", model, "-p", "abc", "--raw", "--max-tokens", "6", "--temperature", "1", "--seed", "5",
                "--json",
            ]
            let first = try moru.run(arguments)
            let json = try JSON.parse(first.output, source: "output")
            #expect(first.code == 0, "\(first.errors)")
            #expect(json.object?.keys == ["text", "ids", "finish_reason", "usage", "timings", "speculation"])
            #expect(json["usage"]?["prompt_tokens"] == 3)
            #expect(json["ids"]?.ints.isEmpty == false)
            let second = try JSON.parse(try moru.run(arguments).output, source: "output")
            #expect(second["ids"] == json["ids"] && second["text"] == json["text"])
        }
    }

    @Test func tokenizeNeedsNoNetworkThatRuns() throws {
        try withTinyModel { model in
            let config = try FileSystem.readText(model + "/config.json").replacing("\"llama\"", with: "\"deberta\"")
            try FileSystem.write(config.utf8, to: model + "/config.json")
            #expect(try moru.run(["show", model]).code == 4)
            let outcome = try moru.run(["tokenize", model, "-p", "A", "--raw", "--json"])
            #expect(try JSON.parse(outcome.output, source: "output")["ids"]?.ints == [65], "\(outcome.errors)")
        }
    }

    @Test func valuesMayBeginWithADash() throws {
        try withTinyModel { model in
            let tokens = try JSON.parse(
                try moru.run(["tokenize", model, "-p", "-a", "--raw", "--json"]).output, source: "output")
            #expect(tokens["ids"]?.ints == [45, 97])
            let piped = try JSON.parse(
                try moru.run(["tokenize", model, "-p", "-", "--raw", "--json"], input: "é").output, source: "output")
            #expect(piped["ids"]?.ints == [0xC3, 0xA9])
            let negative = try moru.run(["generate", model, "-p", "a", "--temperature", "-1"])
            #expect(negative.code == 2 && negative.errors.contains("temperature"), "\(negative.errors)")
        }
    }

    @Test func aHostThatDoesNotExistIsNoDefect() throws {
        try withTinyModel { model in
            let outcome = try moru.run(["serve", model, "--host", "nosuch.invalid", "--port", "0"])
            #expect(outcome.code == 2 && outcome.errors.contains("'nosuch.invalid'"), "\(outcome.errors)")
        }
    }

    @Test func chatCommandsSayWhatTheyMiss() throws {
        try withTinyModel { model in
            let outcome = try moru.run(["chat", model], input: "/load\n/sytem\n/system Be brief.\n/system\n/exit\n")
            #expect(outcome.code == 0 && outcome.errors.contains("/load needs"), "\(outcome.errors)")
            #expect(outcome.errors.contains("did you mean /system?") && outcome.errors.contains("› Be brief."))
        }
    }

    @Test func showAndDoctorAndConfigPrintJSON() throws {
        try withTinyModel { model in
            let show = try JSON.parse(try moru.run(["show", model, "--json"]).output, source: "show")
            #expect(show["architecture"] == "llama" && show["layers"] == 2)
            let doctor = try JSON.parse(try moru.run(["doctor", "--json"]).output, source: "doctor")
            #expect(doctor["kernels"]?.string != nil && doctor["problems"]?.array?.isEmpty == false)
            let forced = BuiltProgram("moru", environment: ["MORU_HOME": home, "MORU_PORT": "9123", "HOME": home])
            let config = try JSON.parse(try forced.run(["config", "show", "--json"]).output, source: "config")
            #expect(config["port"]?["value"] == "9123" && config["port"]?["origin"] == "MORU_PORT")
            #expect(config["host"]?["origin"] == "default")
        }
    }

    @Test(arguments: [
        (["show", "nosuch"], Int32(3), "nosuch"),
        (["show", "/nosuch/model"], 3, "/nosuch/model"),
        (["tune", "nosuch.yaml"], 3, "nosuch.yaml"),
        (["eval", "nosuch", "nosuch.jsonl"], 3, "nosuch.jsonl"),
        (["pull", "hf:a/b/c"], 2, "hf:a/b/c"),
        (["generate"], 64, "model"),
        (["generate", "m", "-p", "a", "--max-tokens", "-1"], 64, "at least 1"),
        (["chat", "m", "--max-tokens", "0"], 64, "at least 1"),
        (["eval", "m", "d", "--outcomes"], 64, "--json"),
        (["eval", "m", "d", "--against", "nosuch.json"], 3, "nosuch.json"),
        (["eval", "m", "d", "--save", "/"], 7, "directory"),
        (["serve", "m", "--adapter", "nodirectory"], 64, "moru serve"),
        (["serve", "m", "--memory", "17592186044417"], 64, "--memory is 17592186044417"),
        (["serve", "m", "--kv-memory", "-1"], 64, "--kv-memory"),
        (["serve", "m", "--max-num-seqs", "9223372036854775807"], 3, "'m'"),
        (["models", "--catalog", "--remove", "m"], 64, "exclude"),
        (["frobnicate"], 64, "frobnicate"),
    ])
    func failuresNameWhatIsWrong(arguments: [String], code: Int32, name: String) throws {
        let outcome = try moru.run(arguments)
        #expect(outcome.code == code, "\(outcome.errors)")
        #expect(outcome.errors.contains(name) && outcome.output.isEmpty, "\(outcome.errors)")
    }

    @Test func aMisspeltInstructionSetIsRefused() throws {
        let outcome = try BuiltProgram("moru", environment: ["MORU_CPU": "avx9000"]).run(["models"])
        #expect(outcome.code == 2 && outcome.errors.contains("avx9000"))
        let version = try BuiltProgram("moru", environment: ["MORU_CPU": "avx9000"]).run(["--version"])
        #expect(version.code == 0, "a setting that is wrong keeps nobody from the help: \(version.errors)")
    }

    @Test func tuneResumesAndEvalCompares() throws {
        try withTinyModel { model in
            let data = (0..<6).map {
                #"{"messages": [{"role": "user", "content": "m\#($0)"}, {"role": "assistant", "content": "label: \#($0 % 2)"}]}"#
            }
            try FileSystem.write(data.joined(separator: "\n").utf8, to: home + "/data.jsonl")
            let recipe = """
                model: \(model)
                output: run
                data: {train: data.jsonl, validation: data.jsonl}
                lora: {rank: 2, alpha: 4, targets: [q_proj]}
                training: {epochs: 1, batch_size: 2, learning_rate: 1e-3}
                """
            try FileSystem.write(recipe.utf8, to: home + "/recipe.yaml")
            let tuned = try moru.run(["tune", home + "/recipe.yaml", "--json"])
            #expect(tuned.code == 0, "\(tuned.errors)")
            let adapter = try #require(try JSON.parse(tuned.output, source: "tune")["adapter"]?.string)
            #expect(FileSystem.exists(adapter + "/adapter_model.safetensors"))
            let again = try moru.run(["tune", home + "/recipe.yaml"])
            #expect(again.code == 6, "a second run into the same directory must be refused: \(again.errors)")
            #expect(again.errors.contains("--resume") && again.errors.contains("--overwrite"))
            #expect(try moru.run(["tune", home + "/recipe.yaml", "--resume"]).code == 0)
            let misspelt = try moru.run(["tune", home + "/recipe.yaml", "--set", "training.epoch=2"])
            #expect(misspelt.code == 2 && misspelt.errors.contains("epochs"), "\(misspelt.errors)")

            let saved = home + "/base.json"
            let evaluate = ["eval", model, home + "/data.jsonl", "--max-tokens", "4"]
            let base = try moru.run(evaluate + ["--save", saved, "--json"])
            #expect(base.code == 0, "\(base.errors)")
            let report = try JSON.parse(base.output, source: "eval")
            #expect(report["examples"] == 6 && report["labels"]?["label"]?["accuracy"] != nil)
            #expect((report["perplexity"]?.double ?? 0) > 1)
            let compared = try moru.run(evaluate + ["--adapter", adapter, "--against", saved])
            #expect(compared.code == 0 && compared.output.contains("label accuracy"), "\(compared.errors)")
        }
    }

    @Test func aPromptOverTheContextIsRefusedWithTheExcess() throws {
        try withTinyModel { model in
            let long = String(repeating: "a", count: 5000)
            let outcome = try moru.run(["generate", model, "-p", long, "--raw"])
            #expect(outcome.code == 2 && outcome.errors.contains("5000"), "\(outcome.errors)")
        }
    }
}
