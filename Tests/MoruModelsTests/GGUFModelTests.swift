import MoruBase
import MoruModels
import MoruTensor
import MoruTestKit
import Testing

/// GGUF files as llama.cpp's conversion names and orders them, with what transformers computes from the same numbers.
@Suite(.tags(.golden), .enabled(if: TestNeeds.python != nil)) struct GGUFModelTests {
    static let files = [
        "llama-f32", "llama3-f16", "llama-q8_0", "qwen2-f16", "qwen2-q4_0", "qwen3-q8_0", "llama-sentencepiece",
        "granite-f16", "mixtral-q8_0", "mixtral-f32", "qwen3moe-q4_0",
        "smollm3-q8_0", "olmo2-f32", "gptneox-q8_0", "gemma2-f16", "gemma3-q8_0",
        "phi3-f32", "phi4-mini-q8_0",
    ]

    @Test(arguments: files) func logitsAgreeWithTransformers(name: String) throws {
        let written = try Interoperation.written()
        let loaded = try PretrainedModel.load(written.path("ggufs", name + ".gguf"))
        Interoperation.expectAgreement(
            Interoperation.logits(loaded.model, written), try written.logits("ggufs", name), name)
        #expect(try loaded.prompt(for: written.messages).text == written.answers["ggufs"]?[name]?["prompt"]?.string)
        #expect(loaded.license == "apache-2.0")
        #expect(loaded.generationDefaults.endIDs == (name == "llama-sentencepiece" ? [2] : [2, 0]))
    }

    @Test(arguments: files) func configurationsAgreeWithTransformers(name: String) throws {
        let written = try Interoperation.written()
        let found = try PretrainedModel.load(written.path("ggufs", name + ".gguf")).model.configurationJSON
        let expected = try #require(written.answers["ggufs"]?[name]?["config"])
        let keys = [
            "model_type", "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
            "num_key_value_heads", "max_position_embeddings", "tie_word_embeddings",
        ]
        for key in keys { #expect(found[key] == expected[key], "\(key)") }
        let scaling = found["rope_scaling"]
        let ropes = try #require(expected["rope_parameters"])
        let rope = ropes["full_attention"] ?? ropes
        #expect((scaling?["rope_type"]?.string ?? "default") == rope["rope_type"]?.string)
        #expect(scaling?["original_max_position_embeddings"]?.int == rope["original_max_position_embeddings"]?.int)
        if let factor = rope["factor"]?.double {
            expectClose([Float(scaling?["factor"]?.double ?? 0)], [Float(factor)], relative: 1e-5)
        }
    }

    @Test func aDirectoryWithOneFileAndAFileOfAnotherNameLoad() throws {
        let written = try Interoperation.written()
        let scratch = try Scratch()
        let bytes = try FileSystem.read(written.path("ggufs", "llama-q8_0.gguf"))
        try FileSystem.write(bytes, to: scratch.path + "/only.gguf")
        #expect(try PretrainedModel.load(scratch.path).storageDescription == "GGUF Q8_0")
        try FileSystem.write(bytes, to: scratch.path + "/sha256-0123")
        #expect(try PretrainedModel.load(scratch.path + "/sha256-0123").model.facts.vocabularySize == 384)
    }
}
