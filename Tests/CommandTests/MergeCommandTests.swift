import MoruBase
import MoruModels
import MoruNN
import MoruTestKit
import Testing

/// `moru merge` as a user meets it.
@Suite struct MergeCommandTests {
    private let home = TestNeeds.temporaryPath("merge")
    private var moru: BuiltProgram { BuiltProgram("moru", environment: ["MORU_HOME": home, "MORU_CONFIG": ""]) }

    @Test func anAdapterBecomesPartOfTheModel() throws {
        defer { FileSystem.remove(home) }
        let (base, adapter, merged) = (home + "/base", home + "/adapter", home + "/merged")
        try TestModels.writeTinyDirectory(base)
        let model = try PretrainedModel.load(base)
        let lora = try LoRAAdapter(LoRAConfiguration(), adapting: model.model.linears, seed: 3)
        for pair in lora.pairs.values { pair.b.value = Deterministic.tensor(pair.b.path, pair.b.value.shape) }
        try lora.save(to: adapter, baseModel: base)
        let arguments = ["merge", base, "--adapter", adapter, "--output", merged]

        let dry = try moru.run(arguments + ["--dry-run"])
        #expect(dry.code == 0 && dry.output.contains("LORA on 8 layers, weight 1"), "\(dry.output)\(dry.errors)")
        #expect(dry.output.contains("would be written") && !FileSystem.exists(merged))

        let done = try moru.run(arguments + ["--json"])
        #expect(done.code == 0, "\(done.errors)")
        let report = try JSON.parse(done.output, source: "output")
        #expect(report["layers"] == 8 && report["dry_run"] == false && report["adapters"]?[0]?["weight"]?.double == 1)
        let ask = ["-p", "hello", "--raw", "--max-tokens", "8", "--json"]
        let expected = try JSON.parse(
            try moru.run(["generate", base, "--adapter", adapter] + ask).output, source: "output")
        let found = try JSON.parse(try moru.run(["generate", merged] + ask).output, source: "output")
        #expect(expected["text"] != nil && found["text"] == expected["text"])
    }

    @Test func mistakesAreNamed() throws {
        defer { FileSystem.remove(home) }
        let (a, b) = (home + "/a", home + "/b")
        try TestModels.writeTinyDirectory(a)
        try TestModels.writeTinyDirectory(b, seed: 8)
        for arguments in [
            [], ["--with", b], ["--with", b, "--method", "slerp"], ["--adapter", b, "--method", "ties"],
            ["--with", b, "--method", "linear", "--weight", "1", "--weight", "2"],
            ["--with", b, "--method", "linear", "--dtype", "q4_0"],
        ] {
            #expect(try moru.run(["merge", a, "--output", home + "/c"] + arguments).code == 64, "\(arguments)")
        }
        let onto = try moru.run(["merge", a, "--with", b, "--method", "linear", "--output", a])
        #expect(onto.code == 6 && onto.errors.contains("is what is read"))
        let done = try moru.run(["merge", a, "--with", b, "--method", "slerp", "--t", "0.5", "--output", home + "/c"])
        #expect(done.code == 0 && FileSystem.exists(home + "/c/model.safetensors"), "\(done.errors)")
    }
}
