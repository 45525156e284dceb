import Foundation
import MoruBase
import MoruModels
import MoruNN
import MoruTestKit
import Testing

@testable import MoruTraining

@Suite
struct TuningTests {
    private let folder: TemporaryFolder
    private let model: PretrainedModel
    private var recipe: Recipe

    init() throws {
        folder = try TemporaryFolder()
        model = try TestModels.tinyPretrained(seed: nil, contextLength: 64)
        let lines = ["red", "green", "blue", "grey"].map { colour in
            #"{"messages": [{"role": "user", "content": "\#(colour)?"}, {"role": "assistant", "content": "\#(colour.prefix(1))"}]}"#
        }
        let train = try folder.write(lines.joined(separator: "\n"), to: "train.jsonl")
        let validation = try folder.write(lines[0], to: "validation.jsonl")
        recipe = Recipe(
            model: "tiny", output: folder.path + "/run", data: DataSettings(train: train, validation: validation))
        recipe.training.length = .epochs(4)
        recipe.training.batchSize = 2
        recipe.training.learningRate = 1e-2
    }

    @Test func writesAnAdapterAndItsRecipe() throws {
        var events: [TrainingEvent] = []
        let result = try Tuning(recipe, model: model).run { events.append($0) }
        #expect(result.summary.steps == 8 && result.skippedExamples == 0)
        #expect(try #require(result.summary.bestValidationLoss) < #require(events.losses.first))
        let adapter = try LoRAAdapter.load(from: result.directory, for: model.model)
        var lora = recipe.lora
        lora.targets = ["q_proj", "k_proj", "v_proj", "o_proj"]
        #expect(adapter.configuration == lora)
        let notices = events.compactMap { if case .notice(let text) = $0 { text } else { nil } }
        #expect(notices.contains("LoRA on the layers q_proj, k_proj, v_proj, o_proj"), "\(notices)")
        #expect(try Recipe(file: recipe.output + "/recipe.yaml") == recipe)
        guard case .started(let start) = try #require(events.first) else {
            Issue.record("a run begins with started")
            return
        }
        #expect(start.totalSteps == 8 && start.trainingExamples == 4 && start.validationExamples == 1)
        // each answer is a letter and the end of the turn
        #expect(start.targetsPerEpoch == 8)
    }

    /// Every method and objective runs from a recipe, is estimated, and goes on from its checkpoint to the same losses.
    @Test(arguments: [
        ["method=lora", "lora.dora=true"], ["method=ia3"],
        ["method=prompt", "virtual_tokens.count=4", "virtual_tokens.text=ab"],
        ["method=prefix", "virtual_tokens.count=3"],
        ["method=last_layers", "last_layers.count=1", "training.optimizer=lion"],
        ["method=full", "save_dtype=bf16", "training.optimizer=muon", "training.ema_decay=0.9"],
        ["objective=dpo", "dpo.beta=0.5"], ["objective=distillation", "method=full", "distillation.teacher=larger"],
    ])
    func everyMethodRunsFromARecipe(overrides: [String]) throws {
        let isPreference = overrides.contains("objective=dpo")
        let lines = (0..<6).map { number in
            isPreference
                ? #"{"prompt": "say \#(number)", "chosen": "yes \#(number)", "rejected": "no"}"#
                : #"{"messages": [{"role": "user", "content": "m\#(number)"}, {"role": "assistant", "content": "a\#(number)"}]}"#
        }
        let train = try folder.write(lines.joined(separator: "\n"), to: "data.jsonl")
        let recipe = try Recipe(
            yaml: """
                model: tiny
                output: \(folder.path)/whole
                data: {train: \(train), validation: \(train)}
                training: {epochs: 4, batch_size: 2, learning_rate: 1e-2, save_every: 5, seed: 3}
                """, source: "test", overrides: overrides)
        #expect(try Recipe(yaml: recipe.yaml, source: "written") == recipe)
        func tune(_ output: String, _ existing: ExistingRun) throws -> (TuningResult, [TrainingEvent]) {
            var recipe = recipe
            recipe.output = output
            // a fresh model each time: some methods move it
            let model = try TestModels.tinyPretrained(seed: nil, contextLength: 64)
            var tuning = Tuning(
                recipe, model: model, teacher: try TestModels.tinyPretrained(seed: 9, contextLength: 64))
            tuning.existingRun = existing
            var events: [TrainingEvent] = []
            return (try tuning.run { events.append($0) }, events)
        }
        let (result, events) = try tune(recipe.output, .refuse)
        #expect(events.losses.count == 12)
        #expect(try #require(result.summary.bestValidationLoss) < #require(events.validationLosses.first) + 0.5)
        #expect(events.contains { if case .estimated = $0 { true } else { false } })
        #expect(result.isAdapter == FileSystem.exists(result.directory + "/adapter_config.json"))
        #expect(result.isAdapter != FileSystem.exists(result.directory + "/config.json"))
        let last = events.losses.suffix(2)
        FileSystem.remove(recipe.output + "/checkpoints/step-000012")
        let (again, rest) = try tune(recipe.output, .resume)
        #expect(rest.losses.suffix(2) == last && rest.losses.count == 2 && again.summary.steps == 12)
        expectError(.runExists, "holds a run already") { _ = try tune(recipe.output, .refuse) }
    }

    @Test func anotherRecipeDoesNotResume() throws {
        try _ = Tuning(recipe, model: model).run()
        var other = recipe
        other.training.learningRate = 2e-2
        other.training.logEvery = 3
        other.training.recomputesActivations = true
        var tuning = Tuning(other, model: model)
        tuning.existingRun = .resume
        expectError(.runChanged, "training.learning_rate was 0.01, is 0.02") { _ = try tuning.run() }
        other.training.learningRate = 1e-2
        tuning = Tuning(other, model: model)
        tuning.existingRun = .resume
        #expect(try tuning.run().summary.steps == 8)
    }

    @Test func saysWhatDoesNotFitTheModel() throws {
        var other = recipe
        other.data.maxLength = 65
        expectError(.recipeValue, "data.max_length is 65", "64 tokens") { _ = try Tuning(other, model: model).run() }
        other = recipe
        other.lora.targets = ["q_prj"]
        expectError(.adapterMismatch, "lora.targets: ", "did you mean q_proj?") {
            _ = try Tuning(other, model: model).run()
        }
        other = recipe
        other.data.train = folder.path + "/absent.jsonl"
        expectError(.fileNotFound, "absent.jsonl") { _ = try Tuning(other, model: model).run() }
        #expect(!FileSystem.exists(recipe.output))
    }

    @Test func aTokenizerOfAnotherModelIsRefused() throws {
        let other = PretrainedModel(
            model: try TestModels.tinyLlama(), tokenizer: model.tokenizer, chatTemplate: nil,
            generationDefaults: GenerationDefaults(), path: "mixed", storageDescription: "", license: nil)
        expectError(.tokenizerMismatch, "mixed: ", "the model has 64 ids") {
            _ = try Tuning(recipe, model: other).run()
        }
    }

    @Test func reportsWhatWasLeftOut() throws {
        var other = recipe
        other.data.maxLength = 27
        other.data.tooLong = .skip
        var notices: [String] = []
        let result = try Tuning(other, model: model).run { if case .notice(let text) = $0 { notices.append(text) } }
        // green is the longest
        #expect(result.skippedExamples == 1)
        #expect(notices.contains { $0.contains("train.jsonl") && $0.contains("too long") })
    }
}
