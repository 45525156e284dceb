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
        let adapter = try LoRAAdapter.load(from: result.adapterDirectory, for: model.model)
        #expect(adapter.configuration == recipe.lora)
        #expect(try Recipe(file: recipe.output + "/recipe.yaml") == recipe)
        guard case .started(let start) = try #require(events.first) else {
            Issue.record("a run begins with started")
            return
        }
        #expect(start.totalSteps == 8 && start.trainingExamples == 4 && start.validationExamples == 1)
        // each answer is a letter and the end of the turn
        #expect(start.targetsPerEpoch == 8)
    }

    @Test func anotherRecipeDoesNotResume() throws {
        try _ = Tuning(recipe, model: model).run()
        var other = recipe
        other.training.learningRate = 2e-2
        other.training.logEvery = 3
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
