import MoruBase
import MoruModels
import MoruNN
import MoruTensor
import MoruTestKit
import Testing

/// The Llama family against transformers, on tiny models with deterministic weights.
@Suite(.tags(.golden)) struct LlamaTests {
    static let variants = [
        "llama2", "smollm2", "llama3", "llama-linear", "mistral", "qwen2", "qwen2-yarn", "qwen2-window", "qwen3",
    ]

    @Test(arguments: variants) func logitsAgreeWithTransformers(variant: String) throws {
        try LanguageModelGolden("llama.json", variant).expectLogits()
    }

    @Test(arguments: variants) func gradientsAgreeWithTransformers(variant: String) throws {
        try LanguageModelGolden("llama.json", variant).expectGradients()
    }

    @Test(arguments: variants) func cachedStepsAgreeWithTheWholeSequence(variant: String) throws {
        try LanguageModelGolden("llama.json", variant).expectCachedSteps()
    }

    @Test func sequencesOfABatchDoNotSeeEachOther() throws {
        let model = try TestModels.tinyLlama()
        let (a, b): ([Int32], [Int32]) = ([1, 2, 3, 4, 5], [9, 8, 7])
        Runtime.withPrecision(.f32) {
            let both = model.hiddenStates(TokenBatch([a, b]))
            expectClose(both.rows(0..<5), model.hiddenStates(TokenBatch([a])))
            expectClose(both.rows(5..<8), model.hiddenStates(TokenBatch([b])))
        }
    }

    @Test func configurationErrorsNameTheKey() throws {
        var config = try #require(TestModels.tinyLlamaConfiguration.object)
        config["hidden_size"] = "big"
        let error = #expect(throws: MoruError.self) { try TestModels.tinyLlama(configuration: .object(config)) }
        #expect(error?.code == .modelConfiguration && error?.message.contains("hidden_size") == true)
        config["hidden_size"] = 32
        config["model_type"] = "lama"
        let other = #expect(throws: MoruError.self) { try TestModels.tinyLlama(configuration: .object(config)) }
        #expect(other?.code == .modelUnsupported && other?.remedy?.contains("llama") == true)
    }
}
