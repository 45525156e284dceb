import Foundation
import MoruBase
import MoruNN
import MoruTensor
import MoruTestKit
import Testing

@testable import MoruTraining

@Suite
struct RecipeTests {
    private static let minimal = "model: base\ndata:\n  train: train.jsonl\n"

    private func read(_ yaml: String, overrides: [String] = []) throws -> Recipe {
        try Recipe(yaml: yaml, source: "recipe.yaml", directory: "/data/recipes", overrides: overrides)
    }

    @Test func everyKeyReachesItsPlace() throws {
        let recipe = try read(
            """
            model: ../models/base       # a path, for it begins with dots
            output: /runs/one
            method: lora
            data:
              train: train.jsonl
              validation: "sub/validation.jsonl"
              format: completion
              max_length: 512
              too_long: skip
            lora:
              rank: 16
              alpha: 24
              dropout: 0.05
              targets: [q_proj, "v_proj"]
              rslora: true
            training:
              steps: 70
              batch_size: 4
              gradient_accumulation: 3
              learning_rate: 2e-4
              schedule: linear
              warmup_steps: 5
              final_learning_rate_ratio: 0.1
              weight_decay: 0.01
              beta1: 0.8
              beta2: 0.95
              epsilon: 1e-7
              clip_norm: 0
              seed: 42
              evaluate_every: 10
              evaluate_at_start: true
              save_every: 20
              log_every: 2
              keep: 3
              precision: f32
              recompute: true
            evaluation:
              data: test.jsonl
              max_tokens: 24
              labels:
                - sentiment
                - topic
            """)
        var settings = TrainingSettings()
        settings.length = .steps(70)
        settings.batchSize = 4
        settings.gradientAccumulation = 3
        settings.learningRate = 2e-4
        settings.schedule = .linear
        settings.warmup = .steps(5)
        settings.finalLearningRateShare = 0.1
        settings.optimizer = OptimizerSettings(beta1: 0.8, beta2: 0.95, epsilon: 1e-7, weightDecay: 0.01)
        settings.clipNorm = 0
        settings.seed = 42
        (settings.evaluateEvery, settings.evaluatesAtStart, settings.saveEvery) = (10, true, 20)
        (settings.logEvery, settings.keep, settings.precision) = (2, 3, .f32)
        settings.recomputesActivations = true
        let expected = Recipe(
            model: "/data/models/base", output: "/runs/one",
            data: DataSettings(
                train: "/data/recipes/train.jsonl", validation: "/data/recipes/sub/validation.jsonl",
                format: .completion, maxLength: 512, tooLong: .skip),
            lora: LoRAConfiguration(
                rank: 16, alpha: 24, dropout: 0.05, targets: ["q_proj", "v_proj"], usesRankStabilization: true),
            training: settings,
            evaluation: EvaluationSettings(
                data: "/data/recipes/test.jsonl", maxTokens: 24, labels: ["sentiment", "topic"]))
        #expect(recipe == expected)
    }

    @Test func defaultsAndPaths() throws {
        let recipe = try read(Self.minimal)
        #expect(
            recipe
                == Recipe(
                    model: "base", output: "/data/recipes/runs/recipe",
                    data: DataSettings(train: "/data/recipes/train.jsonl")))
        let folder = try TemporaryFolder()
        let file = try folder.write(Self.minimal, to: "deep/mine.yaml")
        let fromFile = try Recipe(file: file)
        #expect(fromFile.data.train == folder.path + "/deep/train.jsonl")
        #expect(fromFile.output == folder.path + "/deep/runs/mine")
    }

    /// What is written back is read as the same recipe.
    @Test(arguments: [
        "", "output: \"/tmp/with space: and # hash\"\n", "lora:\n  dropout: 0.1\n  targets: ['yes', '8', down_proj]\n",
        "training:\n  steps: 3\n  warmup_steps: 0\n  learning_rate: 0.00001\n  seed: 9007199254740993\n",
        "evaluation:\n  labels: []\n  data: test.jsonl\n", "method: lora\nlora:\n",
    ])
    func writesWhatItReads(extra: String) throws {
        let recipe = try read(Self.minimal + extra)
        #expect(try Recipe(yaml: recipe.yaml, source: "written", directory: "/elsewhere") == recipe, "\(recipe.yaml)")
    }

    @Test func overridesWin() throws {
        let recipe = try read(
            Self.minimal + "training:\n  epochs: 5\n",
            overrides: [
                "training.steps=12", "lora.targets=[gate_proj, up_proj]", "data.validation=held out.jsonl",
                "training.warmup_ratio = 0.5", "model=./here",
            ])
        #expect(recipe.training.length == .steps(12) && recipe.training.warmup == .share(0.5))
        #expect(recipe.lora.targets == ["gate_proj", "up_proj"])
        // as the shell's user means them, not relative to the recipe
        #expect(recipe.data.validation == "held out.jsonl" && recipe.model == "./here")
        expectError(.recipeUnknownKey, "override training.learning_rat", "did you mean training.learning_rate?") {
            _ = try read(Self.minimal, overrides: ["training.learning_rat=1"])
        }
        expectError(.recipeValue, "override training.epochs: training.epochs is many", "an integer from 1") {
            _ = try read(Self.minimal, overrides: ["training.epochs=many"])
        }
        expectError(.recipeValue, "\"epochs\" has no value", "key=value") {
            _ = try read(Self.minimal, overrides: ["epochs"])
        }
        expectError(.recipeValue, "\"=3\" names no key", "key=value") {
            _ = try read(Self.minimal, overrides: ["=3"])
        }
        expectError(.recipeValue, "is for a whole section", "one by one") {
            _ = try read(Self.minimal, overrides: ["training={epochs: 1}"])
        }
        expectError(.recipeValue, "override lora.rank: lora.rank has no value") {
            _ = try read(Self.minimal, overrides: ["lora.rank="])
        }
    }

    @Test(arguments: [
        ("lora:\n  rnak: 8\n", "recipe.yaml:5: unknown key lora.rnak", "did you mean lora.rank?"),
        ("trainning:\n  epochs: 1\n", "recipe.yaml:4: unknown key trainning", "did you mean training?"),
        ("learning_rate: 1\n", "recipe.yaml:4: unknown key learning_rate", "did you mean training.learning_rate?"),
        ("lora:\n  batch_size: 1\n", "recipe.yaml:5: unknown key lora.batch_size", "did you mean training.batch_size?"),
        (
            "lora:\n\n  # a comment\n  colour: red\n", "recipe.yaml:7: unknown key lora.colour",
            "the keys here are rank, alpha"
        ),
    ])
    func unknownKeysNameTheNearest(extra: String, place: String, remedy: String) {
        expectError(.recipeUnknownKey, place, remedy) { _ = try read(Self.minimal + extra) }
    }

    @Test(arguments: [
        ("lora:\n  rank: eight\n", "recipe.yaml:5: lora.rank is eight", "an integer from 1 to 4096"),
        ("lora:\n  rank: 0\n", "lora.rank is 0", "an integer from 1 to 4096"),
        ("lora:\n  rank: 1.5\n", "lora.rank is 1.5", "an integer"),
        ("lora:\n  rank: '8'\n", "lora.rank is \"8\"", "an integer"),
        ("lora:\n  rank: 99999999999999999999\n", "lora.rank is 99999999999999999999", "an integer"),
        ("lora:\n  rank: [1]\n", "lora.rank is [\"1\"]", "an integer"),
        ("lora:\n  rank:\n", "recipe.yaml:5: lora.rank has no value", "leave the key out"),
        ("lora:\n  rank: ~\n", "lora.rank has no value", "leave the key out"),
        ("lora:\n  dropout: 1\n", "lora.dropout is 1", "a number of at least 0 and below 1"),
        ("lora:\n  dropout: nan\n", "lora.dropout is nan", "a number"),
        ("lora:\n  alpha: 0\n", "lora.alpha is 0", "a number above 0"),
        ("lora:\n  alpha: inf\n", "lora.alpha is inf", "a number above 0"),
        ("lora:\n  targets: []\n", "lora.targets is []", "at least one name"),
        ("lora:\n  targets: q_proj\n", "lora.targets is q_proj", "a list"),
        ("lora:\n  targets: [{a: b}]\n", "lora.targets is a nested structure", "a list"),
        ("lora:\n  rslora: yes\n", "lora.rslora is yes", "true or false"),
        ("training:\n  schedule: cosin\n", "training.schedule is cosin", "did you mean cosine?"),
        ("training:\n  learning_rate: -1\n", "training.learning_rate is -1", "a number above 0"),
        ("training:\n  seed: -1\n", "training.seed is -1", "an integer of at least 0"),
        (
            "method: qlora\n", "method is qlora",
            "it must be one of lora, ia3, prompt, prefix, last_layers, full, head; did you mean lora?"
        ),
        ("output: ''\n", "output is \"\"", "a path"),
        ("training:\n  epochs: 1\n  steps: 2\n", "recipe.yaml:6: training.epochs and training.steps", "keep one"),
        ("training:\n  warmup_steps: 1\n  warmup_ratio: 0.1\n", "recipe.yaml:6: training.warmup_steps and", "keep one"),
    ])
    func badValuesSayWhatIsWanted(extra: String, message: String, remedy: String) {
        expectError(.recipeValue, message, remedy) { _ = try read(Self.minimal + extra) }
    }

    @Test func whatDoesNotGoTogetherIsRefused() {
        expectError(.recipeValue, "distillation.teacher is missing", "name the larger model") {
            _ = try read(Self.minimal + "objective: distillation\n")
        }
        expectError(.recipeValue, "quantize is set, but full moves the model's own weights", "method: lora") {
            _ = try read(Self.minimal, overrides: ["method=full", "quantize=q8_0"])
        }
    }

    @Test func whatHasNoDefaultMustBeThere() {
        expectError(.recipeValue, "recipe.yaml: the key model is missing") { _ = try read("data:\n  train: t.jsonl\n") }
        expectError(.recipeValue, "recipe.yaml: the key data.train is missing") { _ = try read("model: base\n") }
    }

    @Test(arguments: [
        ("", "is empty"), ("- model\n", "recipe.yaml:1: the recipe is not a mapping"), ("model", "not a mapping"),
        ("model: a\nlora: 8\n", "lora is not a mapping"), ("model: [a\ndata: b\n", "recipe.yaml:"),
        ("model: a\nlora:\n  rank: 1\n  rank: 2\n", "rank occurs twice"), ("model: a\n\tdata: b\n", "recipe.yaml:2"),
        ("? [a]\n: b\n", "a key must be a plain name"), ("model: \"\\xZZ\"\n", "recipe.yaml:1"),
    ])
    func whatIsNoRecipeIsRefused(yaml: String, message: String) {
        expectError(.recipeMalformed, message) { _ = try read(yaml) }
    }

    /// A bounded run of damaged recipes: each is read or refused with a typed error.
    @Test func damagedRecipesNeverCrash() throws {
        let whole = Array(try read(Self.minimal).yaml.utf8)
        var generator = RandomGenerator(seed: 11)
        let marks = Array("{}[]:,-&*!|>'\"%@`#\n\t 0~".utf8)
        for _ in 0..<3_000 {
            var bytes = whole
            for _ in 0..<Int.random(in: 1...4, using: &generator) {
                let position = Int.random(in: 0..<bytes.count, using: &generator)
                switch Int.random(in: 0..<3, using: &generator) {
                case 0: bytes[position] = marks.randomElement(using: &generator) ?? 0
                case 1: bytes.insert(marks.randomElement(using: &generator) ?? 0, at: position)
                default: bytes.remove(at: position)
                }
            }
            do {
                _ = try read(String(decoding: bytes, as: UTF8.self))
            } catch let error as MoruError {
                #expect(error.code.name.hasPrefix("recipe."), "\(error)")
            }
        }
    }

    @Test func theExampleRecipeIsValid() throws {
        let root = String(#filePath.prefix(upTo: try #require(#filePath.range(of: "/Tests/")).lowerBound))
        let recipe = try Recipe(file: root + "/Examples/customer-feedback/recipe.yaml")
        for path in [recipe.data.train, try #require(recipe.data.validation), try #require(recipe.evaluation.data)] {
            #expect(FileSystem.exists(path), "\(path)")
        }
    }
}
