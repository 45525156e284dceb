import MoruBase
import MoruModels
import MoruNN
import MoruTensor
import MoruTestKit
import MoruText
import Testing

@testable import MoruTraining

/// What methods move, save and refuse, and that their runs go on after an interruption.
@Suite struct MethodTests {
    private let tokens: [Int32] = [72, 105, 33, 10, 9, 8, 7, 6, 5, 4, 3, 2]

    private func logits(_ model: any LanguageModel) -> [Float] {
        Runtime.withPrecision(.f32) { model.logits(model.hiddenStates(TokenBatch([tokens]))).values() }
    }

    private func settings(steps: Int) -> TrainingSettings {
        var settings = SmallRun().settings
        settings.length = .steps(steps)
        settings.saveEvery = 2
        return settings
    }

    private let data = TokenizedDataset(source: "made up", examples: SmallRun.examples(8))

    /// A tiny model whose layers can be quantised.
    private func pretrained(seed: UInt64 = 1) throws -> PretrainedModel {
        let plain = try TestModels.tinyPretrained()
        var configuration = try #require(plain.model.configurationJSON.object)
        configuration["intermediate_size"] = 64
        return PretrainedModel(
            model: try TestModels.tinyLlama(seed: seed, configuration: .object(configuration)),
            tokenizer: plain.tokenizer, chatTemplate: nil, generationDefaults: plain.generationDefaults, path: "tiny",
            storageDescription: "safetensors f32", license: nil)
    }

    @Test func fullTuningOfQuantisedWeightsIsRefused() throws {
        let base = try pretrained()
        try base.model.quantizeLinears(to: .q8_0)
        expectError(.methodUnsupported, "q_proj", "q8_0", "lora") { _ = try FullMethod(base) }
        expectError(.methodUnsupported, "3 layers of 2", "1 to 2") { _ = try LastLayersMethod(base, count: 3) }
        expectError(.methodUnsupported, "0 layers of 2") { _ = try LastLayersMethod(base, count: 0) }
    }

    @Test func wholeModelsAreSavedAsTheyWereLearnt() throws {
        let folder = try TemporaryFolder()
        try pretrained().save(to: folder.path + "/base")
        for kind in ["full", "last"] {
            let base = try PretrainedModel.load(folder.path + "/base")
            if kind == "last" { try base.model.quantizeLinears(to: .q8_0) }
            let before = base.model.parameters.map { $0.value.values() }
            let method: any TrainingMethod =
                kind == "full" ? try FullMethod(base) : try LastLayersMethod(base, count: 1)
            let task = LanguageModelTask(model: base.model, adapter: nil, training: data)
            try Trainer(task: task, method: method, settings: settings(steps: 3)).run(in: folder.path + "/\(kind)")
            let moving = Set(method.parameters.map(\.path))
            for (parameter, old) in zip(base.model.parameters, before) {
                #expect((parameter.value.values() != old) == moving.contains(parameter.path), "\(parameter.path)")
            }
            #expect(
                moving.contains("model.norm.weight")
                    && moving.contains("model.layers.0.mlp.up_proj.weight") == (kind == "full"))
            try method.save(to: folder.path + "/\(kind)-saved")
            let again = try PretrainedModel.load(folder.path + "/\(kind)-saved")
            expectEqual(
                again.model.parameters.map { $0.value.values() }, base.model.parameters.map { $0.value.values() })
            if kind == "full" { expectEqual(logits(again.model), logits(base.model)) }
        }
        let narrow = try FullMethod(PretrainedModel.load(folder.path + "/base"), savingAs: .bf16)
        try narrow.save(to: folder.path + "/narrow")
        let stored = try PretrainedModel.load(folder.path + "/narrow").model.parameters[0].value
        #expect(stored.dtype == .bf16)
    }

    /// A run of a method on a model of its own, as a new process would make it.
    private func trainer(
        _ kind: String, _ directory: String, precision: Precision = .f32
    ) throws -> Trainer {
        let base = try pretrained(seed: 5)
        if kind.hasPrefix("q") { try base.model.quantizeLinears(to: .q4_0) }
        var configuration = LoRAConfiguration(rank: 2, alpha: 4, dropout: 0.2, targets: ["q_proj", "down_proj"])
        configuration.decomposesWeights = kind.hasSuffix("dora")
        let adapter: (any Adapter)? =
            switch kind {
            case "full", "last", "full-dpo": nil
            case "ia3": try IA3Adapter(IA3Configuration(), adapting: base.model.linears)
            case "prompt":
                try PromptTuningAdapter(tokens: 3, start: .text("Hello"), for: base.model, base.tokenizer, seed: 1)
            case "prefix": try PrefixTuningAdapter(tokens: 3, start: .random, for: base.model, base.tokenizer, seed: 1)
            default: try LoRAAdapter(configuration, adapting: base.model.linears, seed: 1)
            }
        let method: any TrainingMethod =
            if let adapter { AdapterMethod(adapter: adapter, baseModel: "tiny") } else {
                kind == "last" ? try LastLayersMethod(base, count: 1) : try FullMethod(base)
            }
        let task: any TrainingTask
        if kind.hasSuffix("dpo") {
            let pairs = zip(SmallRun.examples(8), SmallRun.examples(8, from: 20)).map(TokenizedPair.init)
            let set = PreferenceDataset(source: "made up", pairs: pairs)
            task = try PreferenceTask(
                model: base.model, adapter: adapter, training: set,
                reference: PreferenceReference(of: base.model, training: set, cache: directory + ".reference"))
        } else if kind == "distil" {
            task = try DistillationTask(
                student: base, adapter: adapter, teacher: pretrained(seed: 6), training: data)
        } else {
            task = LanguageModelTask(model: base.model, adapter: adapter, training: data)
        }
        var training = self.settings(steps: 6)
        training.precision = precision
        return Trainer(task: task, method: method, settings: training)
    }

    /// Every kind of run.
    private static let kinds = [
        "lora", "dora", "qdora", "ia3", "prompt", "prefix", "full", "last", "dpo", "full-dpo", "distil",
    ]

    /// However the machine likes to compute products, losses are those of full precision but for rounding.
    @Test(arguments: kinds) func everyMethodTrainsInAutomaticPrecision(kind: String) throws {
        let folder = try TemporaryFolder()
        var losses: [[Float]] = []
        for precision in [Precision.f32, .automatic] {
            var events: [TrainingEvent] = []
            let directory = "\(folder.path)/\(precision.rawValue)"
            try trainer(kind, directory, precision: precision).run(in: directory) { events.append($0) }
            losses.append(events.losses.map { Float($0) })
        }
        #expect(losses[0].count == 6)
        expectClose(losses[1], losses[0], absolute: 0.02, relative: 0.02)
    }

    @Test(arguments: kinds)
    func runsGoOnToTheSameLosses(kind: String) throws {
        let folder = try TemporaryFolder()
        let (whole, parted) = (folder.path + "/whole", folder.path + "/parted")
        var expected: [TrainingEvent] = []
        try trainer(kind, whole).run(in: whole) { expected.append($0) }
        #expect(expected.losses.count == 6 && expected.losses[5] != expected.losses[0])
        var found: [Double] = []
        var isStopped = false
        do {
            try trainer(kind, parted).run(
                in: parted,
                events: {
                    if case .step(let step) = $0 {
                        found.append(step.loss)
                        isStopped = step.step == 3
                    }
                }, isCancelled: { isStopped })
            Issue.record("the run was not stopped")
        } catch let error as MoruError {
            #expect(error.code == .cancelled)
        }
        #expect(found.count == 3)
        try trainer(kind, parted).run(in: parted, existing: .resume) {
            if case .step(let step) = $0 { found.append(step.loss) }
        }
        #expect(found == expected.losses)
    }

    @Test func theReferenceIsKept() throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/reference.json"
        let model = try TestModels.tinyLlama(seed: 1)
        let pairs = zip(SmallRun.examples(7), SmallRun.examples(7, from: 30)).map(TokenizedPair.init)
        let set = PreferenceDataset(source: "made up", pairs: pairs)
        var calls = 0
        func margins(_ model: any LanguageModel, _ set: PreferenceDataset) throws -> [Float] {
            try PreferenceReference(of: model, training: set, cache: path, progress: { _, _ in calls += 1 })
                .margins(.training)
        }
        let first = try margins(model, set)
        #expect(first.count == 7 && calls == 2)
        #expect(try margins(model, set) == first && calls == 2)
        // Of another model or other data it is none
        #expect(try margins(TestModels.tinyLlama(seed: 2), set) != first && calls == 4)
        _ = try margins(model, PreferenceDataset(source: "made up", pairs: pairs.reversed()))
        #expect(calls == 6)
        expectError(.cancelled) { _ = try PreferenceReference(of: model, training: set, isCancelled: { true }) }
    }

    @Test func settingsOutOfRangeAndOtherTokenizersAreRefused() throws {
        let (student, teacher) = (try pretrained(seed: 1), try pretrained(seed: 2))
        func task(_ settings: DistillationLoss, teacher: PretrainedModel) throws {
            _ = try DistillationTask(
                student: student, adapter: nil, teacher: teacher, training: data, settings: settings)
        }
        try task(DistillationLoss(), teacher: teacher)
        for settings in [
            DistillationLoss(temperature: 0), DistillationLoss(softShare: 1.5), DistillationLoss(topK: 0),
        ] {
            expectError(.recipeValue, "temperature") { try task(settings, teacher: teacher) }
        }
        var file = try #require(TestModels.byteTokenizerJSON.object)
        var model = try #require(file["model"]?.object)
        var vocabulary = try #require(model["vocab"]?.object)
        let (first, second) = (vocabulary.keys[0], vocabulary.keys[1])
        (vocabulary[first], vocabulary[second]) = (vocabulary[second], vocabulary[first])
        model["vocab"] = .object(vocabulary)
        file["model"] = .object(model)
        let other = PretrainedModel(
            model: teacher.model, tokenizer: try Tokenizer(json: .object(file), source: "swapped"),
            chatTemplate: nil, generationDefaults: GenerationDefaults(), path: "other", storageDescription: "f32",
            license: nil)
        expectError(.tokenizerMismatch, "other cannot teach tiny", "id ") {
            try task(DistillationLoss(), teacher: other)
        }
        let set = PreferenceDataset(source: "made up", pairs: [])
        let reference = try PreferenceReference(of: student.model, training: set)
        for settings in [PreferenceSettings(beta: 0), PreferenceSettings(labelSmoothing: 0.5)] {
            expectError(.recipeValue, "beta") {
                _ = try PreferenceTask(
                    model: student.model, adapter: nil, training: set, reference: reference, settings: settings)
            }
        }
    }

    /// Logits are held for some rows at a time; the loss is the sum over all of them.
    @Test func distillationGoesThroughRowsInChunks() throws {
        let (hidden, weight) = (Deterministic.tensor("h", [300, 8]), Deterministic.tensor("w", [21, 8], scale: 4))
        let (teacher, wide) = (Deterministic.tensor("t", [300, 12]), Deterministic.tensor("v", [19, 12], scale: 4))
        let targets = (0..<300).map { Int32($0 * 7 % 21) }
        for settings in [DistillationLoss(), DistillationLoss(temperature: 1, softShare: 1, topK: 19)] {
            func loss(_ rows: Range<Int>) -> Float {
                linearDistillation(
                    hidden.rows(rows), weight, Array(targets[rows]), teacher: teacher.rows(rows), wide, settings
                ).loss.scalar
            }
            let parts = stride(from: 0, to: 300, by: 50).map { loss($0..<$0 + 50) }
            expectClose([loss(0..<300)], [parts.reduce(0, +)], relative: 1e-5)
        }
        let small = Deterministic.tensor("s", [3, 8])
        expectGradients(at: [small, weight]) { inputs in
            linearDistillation(
                inputs[0], inputs[1], [0, 20, 5], teacher: teacher.rows(0..<3), wide,
                DistillationLoss(temperature: 1.5, softShare: 0.7, topK: 6)
            ).loss
        }
    }

    @Test func quantisingABaseIsChecked() throws {
        let model = try TestModels.tinyLlama()
        expectError(.quantizationUnsupported, "bf16", "q8_0") { try model.quantizeLinears(to: .bf16) }
        expectError(.quantizationUnsupported, "down_proj", "48 inputs") { try model.quantizeLinears(to: .q4_0) }
        #expect(model.linears.allSatisfy { $0.weight.value.dtype == .f32 })
    }
}
