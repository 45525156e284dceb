import Foundation
import MoruBase
import MoruModels
import MoruNN
import MoruTensor
import MoruTestKit
import Testing

/// BERT, RoBERTa and DistilBERT against transformers, on tiny models with deterministic weights.
@Suite(.tags(.golden)) struct EncoderTests {
    static let variants = ["bert", "bert-tanh", "roberta", "xlm-roberta", "distilbert"]

    private func load(_ variant: String, vocabulary: Int = 64) throws -> (
        golden: JSON, tokens: [Int32], rows: [Int], model: any TextModel
    ) {
        let file = try Goldens.json("encoders.json")
        let golden = try #require(file["models"]?[variant])
        var config = try #require(golden["config"]?.object)
        config["vocab_size"] = .int(vocabulary)
        let model = try Encoders.build(.object(config), source: "golden", Weights(DeterministicWeights()))
        return (golden, file["tokens"]?.ints.map(Int32.init) ?? [], file["rows"]?.ints ?? [], model)
    }

    private func states(_ model: any TextModel, _ tokens: [Int32]) -> Tensor {
        Runtime.withPrecision(.f32) { model.hiddenStates(TokenBatch([tokens])) }
    }

    @Test(arguments: variants) func hiddenStatesAgreeWithTransformers(variant: String) throws {
        let (golden, tokens, rows, model) = try load(variant)
        let states = states(model, tokens)
        for (row, expected) in zip(rows, golden["states"]?.array ?? []) {
            expectClose(states.rows(row..<row + 1).values(), expected.floats, absolute: 1e-4, "\(variant) row \(row)")
        }
    }

    @Test(arguments: variants) func gradientsAgreeWithTransformers(variant: String) throws {
        let (golden, tokens, _, model) = try load(variant)
        let expected = try #require(golden["gradients"]?.object)
        let parameters = model.parameters.filter { expected[$0.path] != nil }
        try Runtime.withPrecision(.f32) {
            let (loss, gradients) = valueAndGradients(of: parameters) {
                let states = model.hiddenStates(TokenBatch([tokens]))
                let last = Float(states.count - 1)
                let weights = (0..<states.count).map { 2 * Float($0) / last - 1 }
                return (states * Tensor(weights, shape: states.shape)).sum()
            }
            expectClose([loss.scalar], [Float(golden["loss"]?.double ?? .nan)], absolute: 1e-3, "loss")
            // The keys' biases move no score apart: their gradients are rounding errors
            try GoldenGradients.expect(gradients, of: parameters, golden["gradients"], negligible: 1e-4)
        }
    }

    @Test(arguments: variants) func sequencesOfABatchDoNotSeeEachOther(variant: String) throws {
        let (_, tokens, _, model) = try load(variant)
        // Short and long ones, and more than one thread takes at a time
        let texts =
            [Array(tokens.prefix(12)), tokens, Array(tokens.suffix(2))] + (1...9).map { Array(tokens.prefix($0)) }
        let together = model.hiddenStates(TokenBatch(texts))
        var row = 0
        for text in texts {
            let alone = model.hiddenStates(TokenBatch([text]))
            expectEqual(together.rows(row..<row + text.count), alone, "\(text.count) tokens")
            row += text.count
        }
    }

    /// The pass that is made for inference, against the operations that training goes through.
    @Test(arguments: variants) func passesAgreeWithOperations(variant: String) throws {
        let (_, tokens, _, model) = try load(variant)
        let batch = TokenBatch([tokens, Array(tokens.prefix(5))])
        var followed = batch
        followed.dropout = DropoutSource(seed: 1)  // which nothing here uses
        for precision in [Precision.f32, .automatic] {
            Runtime.withPrecision(precision) {
                expectClose(
                    model.hiddenStates(batch), model.hiddenStates(followed), absolute: precision == .f32 ? 1e-4 : 0.05)
            }
        }
        // Weights that change are seen, those in place too
        let before = states(model, tokens).values()
        let weight = try #require(model.linears.first).weight
        weight.value = weight.value * 2
        let after = states(model, tokens).values()
        #expect(before != after)
        weight.update { value in
            value.makeUnique()
            value.floats[0] += 1
        }
        #expect(states(model, tokens).values() != after)
        expectClose(
            states(model, tokens),
            Runtime.withPrecision(.f32) { model.hiddenStates(TokenBatch([tokens], dropout: DropoutSource(seed: 1))) },
            absolute: 1e-4)
    }

    @Test(.enabled(if: TestNeeds.python != nil), arguments: ["bert", "roberta", "distilbert"])
    func transformersLoadsWhatIsSaved(variant: String) throws {
        let directory = TestNeeds.temporaryPath(variant)
        defer { FileSystem.remove(directory) }
        let (_, tokens, rows, model) = try load(variant, vocabulary: TestModels.byteTokenizerSize)
        try Self.pretrained(model).save(to: directory)
        let expected = try #require(Goldens.json(printedBy: "encoders.py", ["check", directory]).array)
        let states = states(model, tokens)
        for (row, expected) in zip(rows, expected) {
            expectClose(states.rows(row..<row + 1).values(), expected.floats, absolute: 1e-4, "row \(row)")
        }
    }

    /// With a head's names (`bert.encoder...`) and without, each opened under either.
    @Test(arguments: ["bert", "roberta", "distilbert"], [true, false])
    func savingKeepsTheModel(variant: String, hasHead: Bool) throws {
        let directory = TestNeeds.temporaryPath(variant)
        defer { FileSystem.remove(directory) }
        let (_, tokens, _, model) = try load(variant, vocabulary: TestModels.byteTokenizerSize)
        let head = Parameter("classifier.weight", Deterministic.tensor("classifier.weight", [3, 32]))
        try Self.pretrained(model).save(to: directory, head: hasHead ? [head] : [])
        for forHead in [true, false] {
            let loaded = try PretrainedTextModel.load(directory, forHead: forHead)
            #expect(loaded.isEncoder && loaded.base.facts == model.facts)
            expectEqual(states(loaded.base, tokens), states(model, tokens))
            #expect(loaded.weights.contains("classifier.weight") == hasHead)
            let prefix = hasHead || forHead ? try Encoders.prefix(of: loaded.configuration, source: "") + "." : ""
            #expect(loaded.base.parameters.first?.path == prefix + "embeddings.word_embeddings.weight")
        }
        let error = #expect(throws: MoruError.self) { try PretrainedModel.load(directory) }
        #expect(error?.code == .modelKind && error?.message.contains("encoder") == true)
    }

    @Test func theFirstCheckpointsNamesAreRead() throws {
        let directory = TestNeeds.temporaryPath("gamma")
        defer { FileSystem.remove(directory) }
        let (_, tokens, _, model) = try load("bert", vocabulary: TestModels.byteTokenizerSize)
        try Self.pretrained(model).save(to: directory)
        let tensors = model.parameters.map { parameter in
            let path = parameter.path.replacingOccurrences(of: "LayerNorm.weight", with: "LayerNorm.gamma")
                .replacingOccurrences(of: "LayerNorm.bias", with: "LayerNorm.beta")
            return ("bert." + path, parameter.value)
        }
        try Safetensors.write(tensors, to: directory + "/model.safetensors")
        let loaded = try PretrainedTextModel.load(directory)
        expectEqual(states(loaded.base, tokens), states(model, tokens))
    }

    @Test func aLanguageModelIsATrunkToo() throws {
        let directory = TestNeeds.temporaryPath("trunk")
        defer { FileSystem.remove(directory) }
        try TestModels.writeTinyDirectory(directory)
        let whole = try PretrainedModel.load(directory)
        let trunk = try PretrainedTextModel.load(directory)
        #expect(!trunk.isEncoder)
        let tokens: [Int32] = [1, 5, 9, 200]
        expectEqual(states(trunk.base, tokens), states(whole.model, tokens))
        // Saved alone, the trunk's names begin without "model."
        let tensors = whole.model.parameters.map { ($0.path.replacingOccurrences(of: "model.", with: ""), $0.value) }
        try Safetensors.write(tensors, to: directory + "/model.safetensors")
        let bare = try PretrainedTextModel.load(directory)
        expectEqual(states(bare.base, tokens), states(whole.model, tokens))
    }

    /// A classifier on a language model whose projection is not tied, and is not there.
    @Test func aTrunkNeedsNoOutputProjection() throws {
        let directory = TestNeeds.temporaryPath("classifier")
        defer { FileSystem.remove(directory) }
        try TestModels.writeTinyDirectory(directory)
        var config = try #require(JSON.parse(file: directory + "/config.json").object)
        config["tie_word_embeddings"] = false
        config["architectures"] = ["LlamaForSequenceClassification"]
        try FileSystem.write(JSON.object(config).text().utf8, to: directory + "/config.json")
        let loaded = try PretrainedTextModel.load(directory)
        #expect(loaded.architecture == "LlamaForSequenceClassification")
        let error = #expect(throws: MoruError.self) { try PretrainedModel.load(directory) }
        #expect(error?.code == .modelKind)
    }

    @Test func configurationErrorsNameTheKey() throws {
        let wrong: [(String, JSON)] = [
            ("num_attention_heads", 5), ("hidden_act", "relu6"), ("num_hidden_layers", "two"),
            ("position_embedding_type", "relative_key"), ("is_decoder", true), ("model_type", "deberta"),
        ]
        for (key, value) in wrong {
            let usual: JSON = [
                "model_type": "bert", "vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 1,
                "num_attention_heads": 4, "intermediate_size": 48,
            ]
            var config = try #require(usual.object)
            config[key] = value
            let error = #expect(throws: MoruError.self) {
                try Encoders.build(.object(config), source: "config.json", Weights(RandomWeights(seed: 1)))
            }
            #expect(error?.message.contains(key == "model_type" ? "deberta" : key) == true)
        }
    }

    private static func pretrained(_ model: any TextModel) throws -> PretrainedTextModel {
        PretrainedTextModel(
            base: model, tokenizer: try TestModels.byteTokenizer(), path: "tiny",
            configuration: model.configurationJSON, storageDescription: "f32", license: nil,
            weights: Weights(DeterministicWeights()))
    }
}
