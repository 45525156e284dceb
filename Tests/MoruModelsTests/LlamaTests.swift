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

    private func load(_ variant: String) throws -> (
        golden: JSON, tokens: [Int32], rows: [Int], model: any LanguageModel
    ) {
        let file = try Goldens.json("llama.json")
        let golden = try #require(file["models"]?[variant])
        let model = try TestModels.tinyLlama(configuration: try #require(golden["config"]))
        return (golden, file["tokens"]?.ints.map(Int32.init) ?? [], file["rows"]?.ints ?? [], model)
    }

    @Test(arguments: variants) func logitsAgreeWithTransformers(variant: String) throws {
        let (golden, tokens, rows, model) = try load(variant)
        Runtime.withPrecision(.f32) {
            let logits = model.logits(model.hiddenStates(TokenBatch([tokens])))
            for (row, expected) in zip(rows, golden["logits"]?.array ?? []) {
                expectClose(
                    logits.rows(row..<row + 1).values(), expected.floats, absolute: 1e-4, "\(variant) row \(row)")
            }
        }
    }

    @Test(arguments: variants) func gradientsAgreeWithTransformers(variant: String) throws {
        let (golden, tokens, _, model) = try load(variant)
        let parameters = model.parameters
        try Runtime.withPrecision(.f32) {
            let (loss, gradients) = valueAndGradients(of: parameters) {
                let hidden = model.hiddenStates(TokenBatch([tokens])).rows(0..<tokens.count - 1)
                let total = model.crossEntropy(hidden, Array(tokens.dropFirst()))
                return total * (1 / Float(tokens.count - 1))
            }
            expectClose([loss.scalar], [Float(try #require(golden["loss"]?.double))], "loss")
            let expected = try #require(golden["gradients"]?.object)
            #expect(Set(expected.keys) == Set(parameters.map(\.path)))
            for (parameter, gradient) in zip(parameters, gradients) {
                let golden = try #require(expected[parameter.path])
                let norm = Float(try #require(golden["norm"]?.double))
                expectClose(
                    [Float(gradient.sumOfSquares().squareRoot())], [norm], relative: 1e-3, parameter.path)
                expectClose(
                    Array(gradient.values().prefix(6)), golden["first"]?.floats ?? [], absolute: 1e-3 * norm,
                    relative: 1e-3, parameter.path)
            }
        }
    }

    @Test(arguments: variants) func cachedStepsAgreeWithTheWholeSequence(variant: String) throws {
        let (_, tokens, _, model) = try load(variant)
        Runtime.withPrecision(.f32) {
            let whole = model.logits(model.hiddenStates(TokenBatch([tokens])))
            let cache = model.makeCache()
            var position = 0
            for count in [7, 1, 1, 12, 3] {
                var batch = TokenBatch()
                batch.append(tokens[position..<position + count], cache: cache)
                let logits = model.logits(model.hiddenStates(batch))
                expectClose(logits, whole.rows(position..<position + count), absolute: 1e-4, "from \(position)")
                position += count
            }
            #expect(position == tokens.count && cache.count == tokens.count)
        }
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
