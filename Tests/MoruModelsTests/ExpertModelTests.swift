import MoruBase
import MoruModels
import MoruNN
import MoruTensor
import MoruTestKit
import Testing

/// Mixtures of experts against transformers, on tiny models with deterministic weights.
@Suite(.tags(.golden)) struct ExpertModelTests {
    static let variants = ["mixtral", "mixtral-balanced", "qwen3_moe", "qwen3_moe-mixed"]

    private func load(_ variant: String) throws -> (
        golden: JSON, tokens: [Int32], rows: [Int], model: any LanguageModel
    ) {
        let file = try Goldens.json("experts.json")
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

    @Test(arguments: variants, [false, true])
    func lossesAndGradientsAgreeWithTransformers(variant: String, recomputes: Bool) throws {
        let (golden, tokens, _, model) = try load(variant)
        let parameters = model.parameters
        try Runtime.withPrecision(.f32) {
            let record = RoutingRecord()
            var batch = TokenBatch([tokens])
            batch.routing = record
            let (loss, gradients) = Runtime.withRecomputation(recomputes) {
                valueAndGradients(of: parameters) {
                    let hidden = model.hiddenStates(batch).rows(0..<tokens.count - 1)
                    let total = linearCrossEntropy(hidden, model.outputProjection.tensor, Array(tokens.dropFirst()))
                    let mean = total * (1 / Float(tokens.count - 1))
                    return model.routerLoss.flatMap { $0(record) }.map { mean + $0 } ?? mean
                }
            }
            expectClose([loss.scalar], [Float(try #require(golden["loss"]?.double))], "loss")
            let (config, said) = (golden["config"], record.logits)
            #expect(said.count == (variant.hasSuffix("mixed") ? 1 : 3))
            let options = RoutingOptions(
                expertsPerToken: try #require(config?["num_experts_per_tok"]?.int), normalizesWeights: true)
            expectClose(
                [loadBalancingLoss(said, options).scalar], [Float(try #require(golden["aux_loss"]?.double))], "balance")
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

    @Test(arguments: variants) func configurationsAreWrittenAsTheyWereRead(variant: String) throws {
        let (golden, _, _, model) = try load(variant)
        let first = try #require((model as? Llama)?.configuration)
        var again = try LlamaConfiguration(json: first.json, source: "again")
        again.original = first.original
        #expect(again == first && first.experts != nil)
        #expect(first.json["model_type"] == golden["config"]?["model_type"])
    }

    @Test func aConfigurationThatMakesNoSenseIsRefused() throws {
        let golden = try #require(Goldens.json("experts.json")["models"])
        func error(_ variant: String, _ key: String, _ value: JSON) throws -> MoruError? {
            var config = try #require(golden[variant]?["config"]?.object)
            config[key] = value
            return #expect(throws: MoruError.self) { try TestModels.tinyLlama(configuration: .object(config)) }
        }
        for (variant, key, value) in [
            ("mixtral", "num_experts_per_tok", 6), ("mixtral", "num_local_experts", 0),
            ("mixtral", "num_local_experts", 100_000), ("qwen3_moe", "mlp_only_layers", "all"),
            ("qwen3_moe", "mlp_only_layers", [-1]), ("qwen3_moe", "decoder_sparse_step", 0),
        ] as [(String, String, JSON)] {
            #expect(try error(variant, key, value)?.code == .modelConfiguration, "\(key)")
        }
        #expect(try error("mixtral", "router_jitter_noise", 0.1)?.code == .modelUnsupported)
    }
}
