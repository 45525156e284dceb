import Foundation
import MoruBase
import MoruModels
import MoruTensor
import MoruTestKit
import Testing

/// What Moru saves, loaded by transformers.
@Suite(.tags(.golden), .enabled(if: TestNeeds.python != nil)) struct SavingTests {
    /// A model to save: where it comes from, how it is saved, and what transformers should then find.
    private struct Case {
        var part: String
        var name: String
        var dtype: DType?
        var shardBytes = 5_000_000_000
        var tolerance: Float = 1e-4
        var storedAs = "torch.float32"
        var type = "llama"
    }

    private static let cases = [
        "kept": Case(part: "models", name: "llama"),
        "sharded": Case(part: "models", name: "qwen2", shardBytes: 40_000, type: "qwen2"),
        "bf16-kept": Case(part: "models", name: "llama3", storedAs: "torch.bfloat16"),
        "bf16-window": Case(part: "models", name: "mistral", storedAs: "torch.bfloat16", type: "mistral"),
        "f16-kept": Case(part: "models", name: "qwen3", shardBytes: 20_000, storedAs: "torch.float16", type: "qwen3"),
        "bf16-to-f32": Case(part: "models", name: "llama3", dtype: .f32),
        "f32-to-bf16": Case(
            part: "models", name: "llama", dtype: .bf16, tolerance: 0.1, storedAs: "torch.bfloat16"),
        "gguf-f32": Case(part: "ggufs", name: "llama-f32.gguf"),
        "gguf-llama3": Case(part: "ggufs", name: "llama3-f16.gguf"),
        "gguf-q8_0": Case(part: "ggufs", name: "llama-q8_0.gguf"),
        "gguf-qwen2": Case(part: "ggufs", name: "qwen2-f16.gguf", type: "qwen2"),
        "gguf-q4_0": Case(part: "ggufs", name: "qwen2-q4_0.gguf", type: "qwen2"),
        "gguf-sentencepiece": Case(part: "ggufs", name: "llama-sentencepiece.gguf"),
        "gguf-qwen3": Case(part: "ggufs", name: "qwen3-q8_0.gguf", type: "qwen3"),
        "mixtral": Case(part: "models", name: "mixtral", storedAs: "torch.bfloat16", type: "mixtral"),
        "qwen3_moe": Case(part: "models", name: "qwen3_moe", shardBytes: 40_000, type: "qwen3_moe"),
        "qwen3_moe-mixed": Case(
            part: "models", name: "qwen3_moe-mixed", storedAs: "torch.float16", type: "qwen3_moe"),
        "gguf-mixtral": Case(part: "ggufs", name: "mixtral-q8_0.gguf", type: "mixtral"),
        "gguf-qwen3moe": Case(part: "ggufs", name: "qwen3moe-q4_0.gguf", type: "qwen3_moe"),
        "granite": Case(part: "models", name: "granite", storedAs: "torch.bfloat16", type: "granite"),
        "smollm3": Case(part: "models", name: "smollm3", type: "smollm3"),
        "olmo2": Case(part: "models", name: "olmo2", shardBytes: 30_000, storedAs: "torch.bfloat16", type: "olmo2"),
        "pythia": Case(part: "models", name: "pythia", storedAs: "torch.float16", type: "gpt_neox"),
        "phi3": Case(part: "models", name: "phi3", storedAs: "torch.bfloat16", type: "phi3"),
        "phi4-mini": Case(part: "models", name: "phi4-mini", type: "phi3"),
        "gguf-phi3": Case(part: "ggufs", name: "phi3-f32.gguf", type: "phi3"),
        "gguf-phi4-mini": Case(part: "ggufs", name: "phi4-mini-q8_0.gguf", type: "phi3"),
        "gguf-granite": Case(part: "ggufs", name: "granite-f16.gguf", type: "granite"),
        "gguf-smollm3": Case(part: "ggufs", name: "smollm3-q8_0.gguf", type: "smollm3"),
        "gguf-olmo2": Case(part: "ggufs", name: "olmo2-f32.gguf", type: "olmo2"),
        "gguf-gptneox": Case(part: "ggufs", name: "gptneox-q8_0.gguf", type: "gpt_neox"),
        "gemma2": Case(part: "models", name: "gemma2", type: "gemma2"),
        "gemma3": Case(part: "models", name: "gemma3", shardBytes: 60_000, type: "gemma3_text"),
        // The text part becomes a model of its own
        "gemma3-vision": Case(part: "models", name: "gemma3-vision", type: "gemma3_text"),
        "gguf-gemma2": Case(part: "ggufs", name: "gemma2-f16.gguf", type: "gemma2"),
        "gguf-gemma3": Case(part: "ggufs", name: "gemma3-q8_0.gguf", type: "gemma3_text"),
    ]

    @Test func transformersLoadsWhatMoruSaves() throws {
        let written = try Interoperation.written()
        let scratch = try Scratch()
        var saved = JSONObject()
        var models: [String: PretrainedModel] = [:]
        for (key, test) in Self.cases.sorted(by: { $0.key < $1.key }) {
            let model = try PretrainedModel.load(written.path(test.part, test.name))
            let path = "\(scratch.path)/\(key)"
            try model.save(to: path, dtype: test.dtype, maximumShardBytes: test.shardBytes)
            let isSharded = FileSystem.exists(path + "/model.safetensors.index.json")
            #expect(isSharded == (test.shardBytes < 1_000_000), "\(key)")
            (saved[key], models[key]) = (.string(path), model)
        }
        let plan = scratch.path + "/plan.json"
        try FileSystem.write((["models": .object(saved)] as JSON).text().utf8, to: plan)
        let answers = try Interoperation.run(["check", plan])
        let texts = (written.answers["texts"]?.array ?? []).compactMap(\.string)
        for (key, test) in Self.cases {
            let answer = try #require(answers["models"]?[key])
            let model = try #require(models[key])
            #expect(answer["strays"]?.array?.isEmpty == true, "\(key)")
            #expect(answer["dtype"]?.string == test.storedAs && answer["type"]?.string == test.type, "\(key)")
            let expected = try written.logits(test.part, test.name.replacing(".gguf", with: ""))
            for (found, expected) in zip(try #require(answer["logits"]?.array).map(\.floats), expected) {
                expectClose(found, expected, absolute: test.tolerance, "\(key)")
            }
            let ids = texts.map { model.tokenizer.encode($0, addSpecialTokens: false).map(Int.init) }
            #expect(answer["texts"]?.array?.map(\.ints) == ids, "\(key)")
            #expect(answer["with_specials"]?.ints == model.tokenizer.encode(texts[0]).map(Int.init), "\(key)")
            #expect(answer["decoded"]?.array?.compactMap(\.string) == texts, "\(key)")
            let ends = model.generationDefaults.endIDs
            #expect(answer["eos"]?.string == model.tokenizer.piece(2), "\(key)")
            #expect(
                answer["generation_eos"]?.ints ?? [answer["generation_eos"]?.int ?? -1] == ends.map(Int.init), "\(key)")
            #expect(answer["prompt"]?.string == (try model.prompt(for: written.messages).text), "\(key)")
        }
    }

    @Test(arguments: ["llama", "llama3", "qwen2"]) func whatIsSavedLoadsAgainTheSame(name: String) throws {
        let written = try Interoperation.written()
        let scratch = try Scratch()
        let model = try PretrainedModel.load(written.path("models", name))
        try model.save(to: scratch.path + "/a")
        let again = try PretrainedModel.load(scratch.path + "/a")
        #expect(again.generationDefaults == model.generationDefaults)
        #expect(again.storageDescription == model.storageDescription)
        #expect(again.model.configurationJSON["eos_token_id"] == model.model.configurationJSON["eos_token_id"])
        for (found, expected) in zip(again.model.parameters, model.model.parameters) {
            #expect(found.path == expected.path && found.value.values() == expected.value.values())
        }
    }

    @Test func aTokenizerOfAGGUFFileIsTheSameAfterSaving() throws {
        let written = try Interoperation.written()
        let scratch = try Scratch()
        let model = try PretrainedModel.load(written.path("ggufs", "qwen2-f16.gguf"))
        try model.save(to: scratch.path + "/a")
        let again = try PretrainedModel.load(scratch.path + "/a")
        #expect(again.generationDefaults.endIDs == model.generationDefaults.endIDs)
        #expect(again.chatTemplate?.source == model.chatTemplate?.source)
        for id in Int32(0)..<384 { #expect(again.tokenizer.piece(id) == model.tokenizer.piece(id)) }
        for text in (written.answers["texts"]?.array ?? []).compactMap(\.string) {
            #expect(again.tokenizer.encode(text) == model.tokenizer.encode(text))
        }
    }
}

/// Saving that cannot succeed leaves what was there as it was.
@Suite struct FailedSavingTests {
    @Test func aPathBelowAFileIsRefused() throws {
        let scratch = try Scratch()
        try FileSystem.write("mine".utf8, to: scratch.path + "/file")
        let model = try TestModels.tinyPretrained()
        let error = #expect(throws: MoruError.self) { try model.save(to: scratch.path + "/file/model") }
        #expect(error?.code == .fileUnwritable && error?.message.contains("/file") == true)
        #expect(try FileSystem.readText(scratch.path + "/file") == "mine")
        #expect(try FileSystem.list(scratch.path) == ["file"])
    }

    @Test func aDirectoryOfOtherThingsIsNotReplaced() throws {
        let scratch = try Scratch()
        try FileSystem.write("mine".utf8, to: scratch.path + "/notes.txt")
        let model = try TestModels.tinyPretrained()
        let error = #expect(throws: MoruError.self) { try model.save(to: scratch.path) }
        #expect(error?.code == .directoryOccupied && error?.remedy != nil)
        #expect(try FileSystem.list(scratch.path) == ["notes.txt"])
    }

    @Test func aDTypeThatTheFormatLacksIsRefusedAndWhatWasThereStays() throws {
        let scratch = try Scratch()
        let path = scratch.path + "/model"
        let model = try TestModels.tinyPretrained()
        try model.save(to: path)
        let before = try FileSystem.list(path).map { ($0, try FileSystem.read("\(path)/\($0)")) }
        let error = #expect(throws: MoruError.self) { try model.save(to: path, dtype: .i32) }
        #expect(error?.code == .safetensorsUnsupportedDType && error?.remedy != nil)
        #expect(try FileSystem.list(scratch.path) == ["model"])
        for (name, bytes) in before { try expectEqual(FileSystem.read("\(path)/\(name)"), bytes) }
    }

    @Test(.enabled(if: TinyDisk.isPossible)) func aFullDiskLeavesWhatWasThere() throws {
        let scratch = try Scratch()
        let disk = try #require(TinyDisk(at: scratch.path + "/disk"))
        let path = disk.path + "/model"
        try FileSystem.createDirectory(path)
        try FileSystem.write("old".utf8, to: path + "/config.json")
        let model = try TestModels.tinyPretrained()
        let error = #expect(throws: MoruError.self) { try model.save(to: path) }
        #expect(error?.code == .diskFull && error?.remedy != nil)
        #expect(try FileSystem.list(disk.path) == ["model"])
        #expect(try FileSystem.readText(path + "/config.json") == "old")
    }
}

/// A file system of 64 KiB, for as long as this lives; only where the machine lets one be mounted.
private final class TinyDisk {
    static let isPossible: Bool = {
        guard geteuid() == 0, let scratch = try? Scratch() else { return false }
        return TinyDisk(at: scratch.path + "/disk") != nil
    }()

    let path: String

    init?(at path: String) {
        self.path = path
        guard (try? FileSystem.createDirectory(path)) != nil,
            Self.run("mount", ["-t", "tmpfs", "-o", "size=64k", "none", path])
        else { return nil }
    }

    deinit { _ = Self.run("umount", [path]) }

    private static func run(_ command: String, _ arguments: [String]) -> Bool {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = [command] + arguments
        process.standardError = FileHandle.nullDevice
        guard (try? process.run()) != nil else { return false }
        process.waitUntilExit()
        return process.terminationStatus == 0
    }
}
