import MoruBase
import MoruModels
import MoruNN
import MoruTensor
import MoruTestKit
import Testing

@testable import MoruTraining

/// Every tuning method against PEFT and torch: losses, norms and parameters step by step, and the gradients of the
/// losses of preference tuning and distillation.
@Suite(.tags(.golden)) struct MethodGoldenTests {
    private let golden: JSON

    init() throws {
        golden = try Goldens.json("methods.json", beside: #filePath.replacing("/Methods/", with: "/"))
    }

    @Test(arguments: ["dora", "ia3", "prompt", "prefix"], [2, 5])
    func adaptersMatchPEFT(name: String, batchSize: Int) throws {
        let base = try pretrained(golden["config"])
        let adapter = try self.adapter(name, for: base)
        for parameter in adapter.parameters { start(parameter) }
        try compare(
            name, base.model, adapter, AdapterMethod(adapter: adapter, baseModel: "tiny"), batchSize: batchSize)
    }

    @Test(arguments: ["full", "last_layers", "last_layers_head"]) func wholeModelsMatchTorch(name: String) throws {
        let base = try pretrained(golden["config"])
        let method: any TrainingMethod =
            switch name {
            case "full": try FullMethod(base)
            case "last_layers": try LastLayersMethod(base, count: 1)
            default: try LastLayersMethod(base, count: 2, includesHead: true)
            }
        try compare(name, base.model, nil, method, batchSize: 5)
    }

    private func adapter(_ name: String, for base: PretrainedModel) throws -> any Adapter {
        switch name {
        case "ia3": try IA3Adapter(IA3Configuration(), adapting: base.model.linears)
        case "prompt": try PromptTuningAdapter(tokens: 4, start: .random, for: base.model, base.tokenizer, seed: 0)
        case "prefix": try PrefixTuningAdapter(tokens: 3, start: .random, for: base.model, base.tokenizer, seed: 0)
        default: try lora(["q_proj", "v_proj", "down_proj"], base, decomposed: true)
        }
    }

    private func lora(_ targets: [String], _ base: PretrainedModel, decomposed: Bool = false) throws -> LoRAAdapter {
        let configuration = LoRAConfiguration(rank: 4, alpha: 6, targets: targets, decomposesWeights: decomposed)
        return try LoRAAdapter(configuration, adapting: base.model.linears, seed: 0)
    }

    /// Gives a parameter the numbers that the script gives it.
    private func start(_ parameter: Parameter) {
        let numbers = Deterministic.tensor(parameter.path, parameter.value.shape, scale: 0.4)
        if parameter.path.hasSuffix("ia3_l") {
            parameter.value = numbers + .ones(numbers.shape)
        } else if parameter.path.contains("magnitude") {
            parameter.value = numbers + parameter.value
        } else {
            parameter.value = numbers
        }
    }

    private func compare(
        _ name: String, _ model: any LanguageModel, _ adapter: (any Adapter)?, _ method: any TrainingMethod,
        batchSize: Int
    ) throws {
        let expected = try #require(golden["runs"]?[name])
        let task = LanguageModelTask(model: model, adapter: adapter, training: try dataset())
        var settings = TrainingSettings()
        settings.length = .steps(golden["steps"]?.int ?? 0)
        settings.batchSize = batchSize
        settings.gradientAccumulation = (5 + batchSize - 1) / batchSize
        settings.learningRate = Float(golden["rate"]?.double ?? 0)
        settings.warmup = .steps(0)
        settings.schedule = .constant
        settings.clipNorm = 0
        settings.optimizer = OptimizerSettings(beta1: 0.9, beta2: 0.98, epsilon: 1e-8, weightDecay: 0)
        settings.precision = .f32
        let folder = try TemporaryFolder()
        var steps: [TrainingEvent.Step] = []
        try Trainer(task: task, method: method, settings: settings)
            .run(in: folder.path + "/run") { if case .step(let step) = $0 { steps.append(step) } }
        #expect(method.parameters.reduce(0) { $0 + $1.value.count } == expected["count"]?.int)
        expectClose(
            steps.map { Float($0.loss) }, expected["losses"]?.floats ?? [], absolute: 1e-4, relative: 0, "loss")
        expectClose(
            steps.map { Float($0.gradientNorm) }, expected["norms"]?.floats ?? [], absolute: 1e-4, relative: 1e-4,
            "norm")
        for parameter in method.parameters {
            // Where a gradient is all but zero, its sign decides a step of Adam
            expectClose(
                Array(parameter.value.values().prefix(3)), expected["parameters"]?[parameter.path]?.floats ?? [],
                absolute: 1e-3, relative: 1e-3, parameter.path)
        }
    }

    @Test(arguments: [0, 1]) func preferencesMatchTorch(index: Int) throws {
        let expected = try #require(golden["preferences"]?[index])
        let base = try pretrained(golden["config"])
        let adapter = try lora(["q_proj", "v_proj"], base)
        let pairs = try #require(golden["pairs"]?.array).map {
            TokenizedPair(chosen: example($0["chosen"]), rejected: example($0["rejected"]))
        }
        let data = PreferenceDataset(source: "golden", pairs: pairs)
        try Runtime.withPrecision(.f32) {
            let reference = try PreferenceReference(of: base.model, training: data)
            let task = try PreferenceTask(
                model: base.model, adapter: adapter, training: data, validation: data,
                reference: PreferenceReference(of: base.model, training: data, validation: data),
                settings: PreferenceSettings(
                    beta: Float(expected["beta"]?.double ?? 0),
                    labelSmoothing: Float(expected["smoothing"]?.double ?? 0)))
            // An untrained adapter is its own reference
            let before = task.measure([0, 1, 2], in: .validation)
            #expect(abs(before.loss - 3 * 0.693147) < 1e-4 && abs(before.others["reward_margin"] ?? 1) < 1e-4)
            #expect(reference.margins(.training) == task.reference.margins(.validation))
            for parameter in adapter.parameters { start(parameter) }
            try compareGradients(adapter.parameters, expected) {
                task.summedLoss(of: [0, 1, 2], in: .training, dropout: nil)
            }
            let margins = expected["margins"]?.floats ?? []
            let after = task.measure([0, 1, 2], in: .validation).others
            expectClose([Float(after["reward_margin"] ?? 0)], [margins.reduce(0, +)], absolute: 1e-4)
            #expect(after["reward_accuracy"] == Double(margins.count { $0 > 0 }))
        }
    }

    @Test(arguments: [0, 1, 2]) func distillationMatchesTorch(index: Int) throws {
        let expected = try #require(golden["distillations"]?[index])
        let (student, teacher) = (try pretrained(golden["config"]), try pretrained(golden["teacher"]))
        let isFull = expected["full"]?.bool == true
        let adapter = isFull ? nil : try lora(["q_proj", "down_proj"], student)
        for parameter in adapter?.parameters ?? [] { start(parameter) }
        let parameters = try adapter?.parameters ?? FullMethod(student).parameters
        let settings = DistillationLoss(
            temperature: Float(expected["temperature"]?.double ?? 0), softShare: Float(expected["share"]?.double ?? 0),
            topK: expected["top_k"]?.int)
        let task = try DistillationTask(
            student: student, adapter: adapter, teacher: teacher, training: dataset(), validation: dataset(),
            settings: settings)
        try Runtime.withPrecision(.f32) {
            try compareGradients(parameters, expected) {
                task.summedLoss(of: Array(0..<5), in: .training, dropout: nil)
            }
            let parts = task.measure(Array(0..<5), in: .validation).others
            expectClose(
                [Float(parts["cross_entropy"] ?? 0), Float(parts["divergence"] ?? 0)],
                [expected["hard"], expected["soft"]].compactMap { $0?.double }.map { Float($0) }, relative: 1e-5)
        }
    }

    private func compareGradients(_ parameters: [Parameter], _ expected: JSON, _ loss: () throws -> Tensor) throws {
        let (value, gradients) = try valueAndGradients(of: parameters, loss)
        expectClose([value.scalar], [Float(expected["loss"]?.double ?? 0)], absolute: 0, relative: 1e-5, "loss")
        for (parameter, gradient) in zip(parameters, gradients) {
            let wanted = try #require(expected["gradients"]?[parameter.path], "\(parameter.path)")
            expectClose(
                [Float(gradient.sumOfSquares().squareRoot())] + gradient.values().prefix(3),
                [Float(wanted["norm"]?.double ?? 0)] + (wanted["first"]?.floats ?? []), absolute: 1e-4,
                relative: 1e-4, parameter.path)
        }
    }

    private func pretrained(_ config: JSON?) throws -> PretrainedModel {
        let model = try LanguageModels.build(
            try #require(config), source: "golden", Weights(DeterministicWeights()))
        return PretrainedModel(
            model: model, tokenizer: try TestModels.byteTokenizer(), chatTemplate: nil,
            generationDefaults: GenerationDefaults(), path: "golden", storageDescription: "f32", license: nil)
    }

    private func dataset() throws -> TokenizedDataset {
        TokenizedDataset(source: "golden", examples: try #require(golden["examples"]?.array).map { example($0) })
    }

    private func example(_ json: JSON?) -> TokenizedExample {
        TokenizedExample(
            tokens: (json?["tokens"]?.ints ?? []).map(Int32.init),
            isTarget: (json?["targets"]?.array ?? []).compactMap(\.bool))
    }
}
