import MoruBase
import MoruModels
import MoruTestKit
import Testing

/// `moru export` and `moru quantize` as a user meets them.
@Suite struct ExportCommandTests {
    private let home = TestNeeds.temporaryPath("export")
    private var moru: BuiltProgram { BuiltProgram("moru", environment: ["MORU_HOME": home, "MORU_CONFIG": ""]) }

    private func json(_ arguments: [String]) throws -> JSON {
        let outcome = try moru.run(arguments + ["--json"])
        #expect(outcome.code == 0, "\(arguments): \(outcome.errors)")
        return try JSON.parse(outcome.output, source: "output")
    }

    @Test func aFileAnswersAsTheModelDoes() throws {
        defer { FileSystem.remove(home) }
        let (base, file, back) = (home + "/base", home + "/model.gguf", home + "/back")
        try TestModels.writeTinyDirectory(base)
        let report = try json(["export", base, "--format", "gguf", "--output", file])
        #expect(report["tensors"]?.array?.count == 20 && report["dry_run"] == false)
        _ = try json(["export", file, "--format", "safetensors", "--output", back])
        let ask = ["-p", "hello", "--raw", "--max-tokens", "8"]
        let expected = try json(["generate", base] + ask)["ids"]
        #expect(expected?.ints.isEmpty == false)
        for path in [file, back] { #expect(try json(["generate", path] + ask)["ids"] == expected, "\(path)") }
    }

    @Test func quantizingSaysWhatItDoesAndWhatIsLost() throws {
        defer { FileSystem.remove(home) }
        let (base, file, text) = (home + "/base", home + "/small.gguf", home + "/text.txt")
        try TestModels.writeTinyDirectory(base)
        try FileSystem.write(String(repeating: "A text to calibrate with, and to measure. ", count: 30).utf8, to: text)
        let arguments = ["quantize", base, "--type", "q4_0", "--output", file]
        let dry = try moru.run(arguments + ["--dry-run"])
        #expect(dry.code == 0 && dry.output.contains("blk.0.ffn_down.weight"), "\(dry.errors)")
        #expect(dry.output.contains("fall back to F16 (rows of 48 are not a multiple of 32)"), "\(dry.output)")
        #expect(dry.output.contains("would be written") && !FileSystem.exists(file))

        let report = try json(arguments + ["--calibration", text])
        let loss = try #require(report["loss"])
        #expect(report["type"] == "Q4_0" && report["calibration_tokens"]?.int ?? 0 > 500)
        #expect(loss["kl_divergence"]?.double ?? 0 > 0 && loss["tokens"]?.int ?? 0 > 50)
        #expect(0...1 ~= loss["top1_agreement"]?.double ?? -1)
        let exact = try json(
            ["quantize", base, "--type", "f32", "--output", home + "/exact.gguf", "--evaluate", text])
        #expect(exact["loss"]?["kl_divergence"]?.double ?? 1 < 1e-9 && exact["loss"]?["top1_agreement"]?.double == 1)
        #expect(exact["loss"]?["perplexity_before"] == exact["loss"]?["perplexity_after"])
        let said = try moru.run(["quantize", base, "--type", "q8_0", "--output", file, "--evaluate", text])
        #expect(said.code == 0 && said.output.contains("KL divergence"), "\(said.errors)")
    }

    @Test func mistakesAreNamed() throws {
        defer { FileSystem.remove(home) }
        let base = home + "/base"
        try TestModels.writeTinyDirectory(base)
        #expect(try moru.run(["quantize", base, "--type", "q9", "--output", home + "/a.gguf"]).code == 64)
        #expect(
            try moru.run(["export", base, "--format", "gguf", "--dtype", "q4_0", "--output", home + "/a"]).code == 64)
        let onto = try moru.run(["export", base, "--format", "gguf", "--output", base])
        #expect(onto.code == 7 && onto.errors.contains("is a directory"))
        try FileSystem.write("text".utf8, to: home + "/no-matrix.txt")
        let matrix = try moru.run([
            "quantize", base, "--type", "q4_0", "--output", home + "/a.gguf", "--imatrix", home + "/no-matrix.txt",
        ])
        #expect(matrix.code == 2 && !FileSystem.exists(home + "/a.gguf"), "\(matrix.errors)")
    }
}
