import MoruBase
import MoruModels
import MoruNN
import MoruTensor
import MoruTestKit
import Testing

/// Mixtures of experts against transformers, on tiny models with deterministic weights.
@Suite(.tags(.golden)) struct ExpertModelTests {
    static let variants = ["mixtral", "mixtral-balanced", "qwen3_moe", "qwen3_moe-mixed"]

    private func load(_ variant: String) throws -> LanguageModelGolden {
        try LanguageModelGolden("experts.json", variant)
    }

    @Test(arguments: variants) func logitsAgreeWithTransformers(variant: String) throws {
        try load(variant).expectLogits()
    }

    @Test(arguments: variants, [false, true])
    func lossesAndGradientsAgreeWithTransformers(variant: String, recomputes: Bool) throws {
        let golden = try load(variant)
        let record = RoutingRecord()
        try Runtime.withRecomputation(recomputes) {
            try golden.expectGradients { model, batch in
                var batch = batch
                batch.routing = record
                let mean = LanguageModelGolden.meanLoss(model, batch)
                return model.routerLoss.flatMap { $0(record) }.map { mean + $0 } ?? mean
            }
        }
        #expect(record.logits.count == (variant.hasSuffix("mixed") ? 1 : 3))
        let options = RoutingOptions(
            expertsPerToken: try #require(golden.configuration["num_experts_per_tok"]?.int),
            normalizesWeights: true)
        expectClose(
            [loadBalancingLoss(record.logits, options).scalar],
            [Float(try #require(golden.golden["aux_loss"]?.double))], "balance")
    }

    @Test(arguments: variants) func cachedStepsAgreeWithTheWholeSequence(variant: String) throws {
        try load(variant).expectCachedSteps()
    }

    @Test(arguments: variants) func configurationsAreWrittenAsTheyWereRead(variant: String) throws {
        let golden = try load(variant)
        let first = try #require((golden.model as? Llama)?.configuration)
        var again = try LlamaConfiguration(json: first.json, source: "again")
        again.original = first.original
        #expect(again == first && first.experts != nil)
        #expect(first.json["model_type"] == golden.configuration["model_type"])
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
