import MoruBase
import MoruModels
import MoruNN
import MoruTensor
import MoruTestKit
import Testing

@testable import MoruTraining

@Suite(.tags(.golden))
struct LoRAGoldenTests {
    /// PEFT's LoRA under torch's AdamW: the same losses, gradient norms and parameters, step by step.
    @Test(arguments: [0, 1], [1, 2, 5])
    func matchesTorch(run: Int, batchSize: Int) throws {
        let golden = try Goldens.json("lora_training.json", beside: goldenPlace)
        let expected = try #require(golden["runs"]?[run])
        let model = try LanguageModels.build(
            try #require(golden["config"]), source: "golden", Weights(DeterministicWeights()))
        let adapter = try adapter(for: model, golden, expected)
        let task = LanguageModelTask(
            model: model, adapter: adapter, training: try dataset(golden["examples"]),
            validation: try dataset(golden["held_out"]))
        var settings = TrainingSettings()
        settings.length = .steps(golden["steps"]?.int ?? 0)
        settings.batchSize = batchSize
        settings.gradientAccumulation = (5 + batchSize - 1) / batchSize
        settings.learningRate = Float(golden["peak"]?.double ?? 0)
        settings.warmup = .steps(golden["warmup"]?.int ?? 0)
        settings.clipNorm = Float(golden["clip"]?.double ?? 0)
        settings.optimizer = OptimizerSettings(
            beta1: 0.9, beta2: 0.98, epsilon: 1e-8, weightDecay: Float(golden["decay"]?.double ?? 0))
        settings.evaluateEvery = 1_000
        settings.evaluatesAtStart = true
        settings.precision = .f32
        let folder = try TemporaryFolder()
        var steps: [TrainingEvent.Step] = []
        let trainer = Trainer(
            task: task, method: AdapterMethod(adapter: adapter, baseModel: "tiny"), settings: settings)
        let summary = try trainer.run(in: folder.path + "/run") { if case .step(let step) = $0 { steps.append(step) } }

        expectClose(
            steps.map { Float($0.loss) }, expected["losses"]?.floats ?? [], absolute: 1e-4, relative: 0, "loss")
        expectClose(
            steps.map { Float($0.gradientNorm) }, expected["norms"]?.floats ?? [], absolute: 1e-4, relative: 1e-4,
            "norm")
        expectClose(steps.map(\.learningRate), expected["rates"]?.floats ?? [], absolute: 0, relative: 1e-5, "rate")
        expectClose(
            [Float(summary.initialValidationLoss ?? 0), Float(summary.bestValidationLoss ?? 0)],
            [expected["held_out_before"], expected["held_out_after"]].compactMap { $0?.double }.map { Float($0) },
            absolute: 1e-4, relative: 0, "validation")
        for parameter in adapter.parameters {
            let first = Array(parameter.value.values().prefix(4))
            expectClose(
                first, expected["parameters"]?[parameter.path]?.floats ?? [], absolute: 2e-4, relative: 1e-3,
                parameter.path)
        }
    }

    private var goldenPlace: String {
        #filePath.replacing("/Loop/", with: "/")
    }

    private func adapter(for model: any LanguageModel, _ golden: JSON, _ run: JSON) throws -> LoRAAdapter {
        let configuration = LoRAConfiguration(
            rank: golden["rank"]?.int ?? 0, alpha: Float(golden["alpha"]?.double ?? 0),
            targets: run["targets"]?.array?.compactMap(\.string) ?? [],
            usesRankStabilization: run["rslora"]?.bool ?? false)
        let adapter = try LoRAAdapter(configuration, adapting: model.linears, seed: 0)
        for pair in adapter.pairs.values {
            pair.a.value = Deterministic.tensor(pair.a.path, pair.a.value.shape, scale: 0.4)
            pair.b.value = Deterministic.tensor(pair.b.path, pair.b.value.shape, scale: 0.2)
        }
        return adapter
    }

    private func dataset(_ json: JSON?) throws -> TokenizedDataset {
        let examples = try #require(json?.array).map { item in
            TokenizedExample(
                tokens: (item["tokens"]?.ints ?? []).map(Int32.init),
                isTarget: (item["targets"]?.array ?? []).compactMap(\.bool))
        }
        return TokenizedDataset(source: "golden", examples: examples)
    }
}
