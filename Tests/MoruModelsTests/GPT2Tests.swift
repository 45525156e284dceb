import Foundation
import MoruBase
import MoruModels
import MoruNN
import MoruTensor
import MoruTestKit
import Testing

/// GPT-2 against transformers, on tiny models with deterministic weights.
@Suite(.tags(.golden)) struct GPT2Tests {
    static let variants = ["gpt2", "gelu-inner", "by-layer"]

    private func load(_ variant: String, vocabulary: Int? = nil) throws -> LanguageModelGolden {
        try LanguageModelGolden("gpt2.json", variant, vocabulary: vocabulary)
    }

    @Test(arguments: variants) func logitsAgreeWithTransformers(variant: String) throws {
        try load(variant).expectLogits()
    }

    @Test(arguments: variants, [false, true]) func gradientsAgreeWithTransformers(
        variant: String, recomputes: Bool
    ) throws {
        try Runtime.withRecomputation(recomputes) { try load(variant).expectGradients() }
    }

    @Test func cachedStepsAgreeWithTheWholeSequence() throws { try load("gpt2").expectCachedSteps() }

    @Test(arguments: [DType.f32, .bf16]) func savingKeepsTheModel(dtype: DType) throws {
        let directory = TestNeeds.temporaryPath("gpt2")
        defer { FileSystem.remove(directory) }
        let golden = try load("gelu-inner", vocabulary: TestModels.byteTokenizerSize)
        try Self.save(golden.model, to: directory, dtype: dtype)
        let loaded = try PretrainedModel.load(directory)
        #expect(loaded.model.facts == golden.model.facts)
        // Rounding to bf16 moves a weight by up to a 256th of itself
        expectClose(
            LanguageModelGolden.logits(loaded.model, golden.tokens), golden.logits,
            absolute: dtype == .f32 ? 1e-6 : 0.1)
    }

    @Test(.enabled(if: TestNeeds.python != nil)) func transformersLoadsWhatIsSaved() throws {
        let directory = TestNeeds.temporaryPath("gpt2")
        defer { FileSystem.remove(directory) }
        let golden = try load("gpt2", vocabulary: TestModels.byteTokenizerSize)
        try Self.save(golden.model, to: directory, dtype: nil)
        let answer = try Goldens.json(printedBy: "gpt2.py", ["check", directory])
        try golden.expectLogits(#require(answer.array))
    }

    @Test func configurationErrorsNameTheKey() throws {
        for (key, value) in [("n_head", JSON.int(5)), ("activation_function", "relu6"), ("n_layer", "two")] {
            let usual: JSON = ["model_type": "gpt2", "vocab_size": 64, "n_embd": 32, "n_layer": 1, "n_head": 4]
            var config = try #require(usual.object)
            config[key] = value
            let error = #expect(throws: MoruError.self) {
                try LanguageModels.build(.object(config), source: "config.json", Weights(RandomWeights(seed: 1)))
            }
            #expect(error?.message.contains(key) == true)
        }
    }

    private static func save(_ model: any LanguageModel, to directory: String, dtype: DType?) throws {
        let tiny = PretrainedModel(
            model: model, tokenizer: try TestModels.byteTokenizer(), chatTemplate: nil,
            generationDefaults: GenerationDefaults(),
            path: "tiny", storageDescription: "f32", license: nil)
        try tiny.save(to: directory, dtype: dtype)
    }
}
