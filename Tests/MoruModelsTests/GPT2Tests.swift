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

    private func load(_ variant: String, vocabulary: Int = 64) throws -> (
        golden: JSON, tokens: [Int32], rows: [Int], model: any LanguageModel
    ) {
        let file = try Goldens.json("gpt2.json")
        let golden = try #require(file["models"]?[variant])
        var config = try #require(golden["config"]?.object)
        config["vocab_size"] = .int(vocabulary)
        let model = try LanguageModels.build(.object(config), source: "golden", Weights(DeterministicWeights()))
        return (golden, file["tokens"]?.ints.map(Int32.init) ?? [], file["rows"]?.ints ?? [], model)
    }

    private func logits(_ model: any LanguageModel, _ tokens: [Int32]) -> Tensor {
        Runtime.withPrecision(.f32) { model.logits(model.hiddenStates(TokenBatch([tokens]))) }
    }

    @Test(arguments: variants) func logitsAgreeWithTransformers(variant: String) throws {
        let (golden, tokens, rows, model) = try load(variant)
        let logits = logits(model, tokens)
        for (row, expected) in zip(rows, golden["logits"]?.array ?? []) {
            expectClose(logits.rows(row..<row + 1).values(), expected.floats, absolute: 1e-4, "\(variant) row \(row)")
        }
    }

    @Test(arguments: variants) func gradientsAgreeWithTransformers(variant: String) throws {
        let (golden, tokens, _, model) = try load(variant)
        try LanguageModelGradients.expectAgreement(model, tokens, golden)
    }

    @Test func cachedStepsAgreeWithTheWholeSequence() throws {
        let (_, tokens, _, model) = try load("gpt2")
        let whole = logits(model, tokens)
        Runtime.withPrecision(.f32) {
            let cache = model.makeCache()
            var position = 0
            for count in [7, 1, 12, 4] {
                var batch = TokenBatch()
                batch.append(tokens[position..<position + count], cache: cache)
                let logits = model.logits(model.hiddenStates(batch))
                expectClose(logits, whole.rows(position..<position + count), absolute: 1e-4, "from \(position)")
                position += count
            }
        }
    }

    @Test(arguments: [DType.f32, .bf16]) func savingKeepsTheModel(dtype: DType) throws {
        let directory = TestNeeds.temporaryPath("gpt2")
        defer { FileSystem.remove(directory) }
        let (_, tokens, _, model) = try load("gelu-inner", vocabulary: TestModels.byteTokenizerSize)
        try Self.save(model, to: directory, dtype: dtype)
        let loaded = try PretrainedModel.load(directory)
        #expect(loaded.model.facts == model.facts)
        // Rounding to bf16 moves a weight by up to a 256th of itself
        expectClose(logits(loaded.model, tokens), logits(model, tokens), absolute: dtype == .f32 ? 1e-6 : 0.1)
    }

    @Test(.enabled(if: TestNeeds.python != nil)) func transformersLoadsWhatIsSaved() throws {
        let directory = TestNeeds.temporaryPath("gpt2")
        defer { FileSystem.remove(directory) }
        let (_, tokens, rows, model) = try load("gpt2", vocabulary: TestModels.byteTokenizerSize)
        try Self.save(model, to: directory, dtype: nil)
        let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appending(
            path: "../../scripts/goldens/gpt2.py"
        ).standardizedFileURL.path
        let program = """
            import os, runpy, sys
            sys.argv = sys.argv[1:]
            sys.path.insert(0, os.path.dirname(sys.argv[0]))
            runpy.run_path(sys.argv[0], run_name="__main__")
            """
        let printed = try TestNeeds.runPython(program, arguments: [script, "check", directory])
        let expected = try #require(try JSON.parse(printed, source: "gpt2.py").array)
        let logits = logits(model, tokens)
        for (row, expected) in zip(rows, expected) {
            expectClose(logits.rows(row..<row + 1).values(), expected.floats, absolute: 1e-4, "row \(row)")
        }
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

/// Gradients of a tiny model's mean next-token loss against a golden's.
enum LanguageModelGradients {
    static func expectAgreement(
        _ model: any LanguageModel, _ tokens: [Int32], _ golden: JSON,
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        let parameters = model.parameters
        try Runtime.withPrecision(.f32) {
            let (loss, gradients) = valueAndGradients(of: parameters) {
                let hidden = model.hiddenStates(TokenBatch([tokens])).rows(0..<tokens.count - 1)
                let total = model.crossEntropy(hidden, Array(tokens.dropFirst()))
                return total * (1 / Float(tokens.count - 1))
            }
            expectClose([loss.scalar], [Float(try #require(golden["loss"]?.double))], "loss")
            let expected = try #require(golden["gradients"]?.object)
            #expect(Set(expected.keys) == Set(parameters.map(\.path)), sourceLocation: sourceLocation)
            for (parameter, gradient) in zip(parameters, gradients) {
                let golden = try #require(expected[parameter.path])
                let norm = Float(try #require(golden["norm"]?.double))
                expectClose(
                    [Float(gradient.sumOfSquares().squareRoot())], [norm], relative: 1e-3, parameter.path,
                    sourceLocation: sourceLocation)
                expectClose(
                    Array(gradient.values().prefix(6)), golden["first"]?.floats ?? [], absolute: 1e-3 * norm,
                    relative: 1e-3, parameter.path, sourceLocation: sourceLocation)
            }
        }
    }
}
