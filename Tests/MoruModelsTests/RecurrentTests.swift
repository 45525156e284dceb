import MoruBase
import MoruModels
import MoruNN
import MoruTensor
import MoruTestKit
import Testing

/// Recurrent language models against PyTorch's LSTM and GRU, on tiny models with deterministic weights.
@Suite(.tags(.golden)) struct RecurrentTests {
    static let variants = ["lstm", "gru"]

    private func load(_ variant: String, vocabulary: Int? = nil) throws -> LanguageModelGolden {
        try LanguageModelGolden("recurrent.json", variant, vocabulary: vocabulary)
    }

    @Test(arguments: variants) func logitsAgreeWithPyTorch(variant: String) throws {
        try load(variant).expectLogits(absolute: 1e-5)
    }

    @Test(arguments: variants) func gradientsAgreeWithPyTorch(variant: String) throws {
        try load(variant).expectGradients()
    }

    @Test(arguments: variants) func stepsWithAStateAgreeWithTheWholeSequence(variant: String) throws {
        let golden = try load(variant)
        golden.expectCachedSteps(absolute: 1e-5)
        // A shortened sequence goes on from where it was cut
        let (tokens, model) = (golden.tokens, golden.model)
        Runtime.withPrecision(.f32) {
            let cache = model.makeCache()
            var batch = TokenBatch()
            batch.append(tokens, cache: cache)
            let whole = model.hiddenStates(batch)
            cache.truncate(to: 9)
            batch = TokenBatch()
            batch.append(tokens[9...], cache: cache)
            expectClose(model.hiddenStates(batch), whole.rows(9..<tokens.count), absolute: 1e-5, "after a cut")
        }
    }

    /// Sequences of different lengths, one of them going on from a state: each as it would be alone, bit for bit.
    @Test(arguments: variants) func sequencesOfABatchDoNotSeeEachOther(variant: String) throws {
        let golden = try load(variant)
        let (tokens, model) = (golden.tokens, golden.model)
        Runtime.withPrecision(.f32) {
            let parts = [tokens[0..<9], tokens[3..<24], tokens[5..<15]].map(Array.init)
            func caches() -> [SequenceCache] {
                parts.map { _ in model.makeCache() }
            }
            func compute(_ which: [Int], _ caches: [SequenceCache]) -> Tensor {
                var batch = TokenBatch()
                for index in which { batch.append(parts[index], cache: caches[index]) }
                return model.hiddenStates(batch)
            }
            let (alone, together) = (caches(), caches())
            for caches in [alone, together] { _ = compute([1], caches) }
            let expected = parts.indices.map { compute([$0], alone).values() }
            expectEqual(compute([0, 1, 2], together).values(), expected.flatMap { $0 })
            #expect(together.map(\.count) == alone.map(\.count))
        }
    }

    @Test(arguments: variants) func gradientsOfABatchAreTheSumOfItsSequences(variant: String) throws {
        let golden = try load(variant)
        let (tokens, model) = (golden.tokens, golden.model)
        let parts = [tokens[0..<3], tokens[3..<14], tokens[14..<24]].map(Array.init)
        func gradients(_ sequences: [[Int32]]) -> [Tensor] {
            let batch = TokenBatch(sequences)
            let targets = sequences.flatMap { $0.dropFirst() + [-1] }
            return valueAndGradients(of: model.parameters) {
                model.crossEntropy(model.hiddenStates(batch), targets)
            }.gradients
        }
        Runtime.withPrecision(.f32) {
            let alone = parts.map { gradients([$0]) }
            for (index, gradient) in gradients(parts).enumerated() {
                let sum = alone.dropFirst().reduce(alone[0][index]) { $0 + $1[index] }
                expectClose(gradient, sum, absolute: 1e-5, model.parameters[index].path)
            }
        }
    }

    @Test func savingKeepsTheModel() throws {
        let directory = TestNeeds.temporaryPath("recurrent")
        defer { FileSystem.remove(directory) }
        let golden = try load("gru", vocabulary: TestModels.byteTokenizerSize)
        let (tokens, model) = (golden.tokens, golden.model)
        let pretrained = PretrainedModel(
            model: model, tokenizer: try TestModels.byteTokenizer(), chatTemplate: nil,
            generationDefaults: GenerationDefaults(), path: "tiny", storageDescription: "f32", license: nil)
        try pretrained.save(to: directory)
        let loaded = try PretrainedModel.load(directory)
        #expect(loaded.model.facts == model.facts)
        Runtime.withPrecision(.f32) {
            let batch = TokenBatch([tokens])
            expectEqual(loaded.model.hiddenStates(batch), model.hiddenStates(batch))
        }
    }

    @Test func forgetGatesBeginOpen() throws {
        let model = try #require(load("lstm").model as? RecurrentLanguageModel)
        model.openForgetGates()
        let bias = try #require(model.linears.first?.bias).value.values()
        #expect(bias[20..<40].allSatisfy { $0 == 1 } && !bias[..<20].contains(1) && !bias[40...].contains(1))
    }

    @Test func anUnknownCellIsRefused() throws {
        let config: JSON = [
            "model_type": "moru_recurrent", "cell": "rnn", "vocab_size": 64, "hidden_size": 8, "num_hidden_layers": 1,
        ]
        let error = #expect(throws: MoruError.self) {
            try LanguageModels.build(config, source: "config.json", Weights(RandomWeights(seed: 1)))
        }
        #expect(error?.code == .modelUnsupported && error?.message.contains("cell") == true)
    }
}
