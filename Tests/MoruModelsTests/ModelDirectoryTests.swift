import MoruBase
import MoruModels
import MoruTestKit
import Testing

/// Directories as transformers writes them: f32, bf16 and f16, single and sharded, each place of the chat template.
@Suite(.tags(.golden), .enabled(if: TestNeeds.python != nil)) struct ModelDirectoryTests {
    static let models = ["llama", "llama3", "mistral", "qwen2", "qwen3", "gemma2", "gemma3", "gemma3-vision"]

    @Test(arguments: models) func logitsAgreeWithTransformers(name: String) throws {
        let written = try Interoperation.written()
        let loaded = try PretrainedModel.load(written.path("models", name))
        #expect(loaded.model.firstNonFiniteParameter() == nil)
        try Interoperation.expectAgreement(
            Interoperation.logits(loaded.model, written), written.logits("models", name), name)
    }

    @Test(arguments: models) func tokenizerAndTemplateAgreeWithTransformers(name: String) throws {
        let written = try Interoperation.written()
        let loaded = try PretrainedModel.load(written.path("models", name))
        let golden = try #require(written.answers["models"]?[name])
        let texts = try #require(written.answers["texts"]?.array)
        for (text, ids) in zip(texts, try #require(golden["texts"]?.array)) {
            let text = try #require(text.string)
            #expect(loaded.tokenizer.encode(text, addSpecialTokens: false).map(Int.init) == ids.ints, "\(text)")
        }
        #expect(loaded.chatTemplate != nil)
        #expect(try loaded.prompt(for: written.messages).text == golden["prompt"]?.string)
        #expect(loaded.tokenizer.endOfSequence == 2 && loaded.tokenizer.beginOfSequence == 1)
    }

    @Test func generationDefaultsAreRead() throws {
        let written = try Interoperation.written()
        let defaults = try PretrainedModel.load(written.path("models", "llama")).generationDefaults
        #expect(
            defaults
                == GenerationDefaults(
                    endIDs: [2, 0], samples: true, temperature: 0.6, topK: 20, topP: 0.9, repetitionPenalty: 1.1))
    }

    @Test func storageIsDescribed() throws {
        let written = try Interoperation.written()
        #expect(try PretrainedModel.load(written.path("models", "llama3")).storageDescription == "safetensors BF16")
        #expect(try PretrainedModel.load(written.path("models", "qwen3")).storageDescription == "safetensors F16")
        let vision = try PretrainedModel.load(written.path("models", "gemma3-vision")).storageDescription
        #expect(vision.contains("images cannot be read"))
    }
}
