import Foundation
import MoruBase
import MoruModels
import MoruTensor
import MoruTestKit
import Testing

@testable import MoruTraining

/// Training from scratch: from texts to a model that is loaded again.
struct PretrainingTests {
    private final class Place {
        let path = TestNeeds.temporaryPath("pretraining")
        deinit { FileSystem.remove(path) }

        /// Texts with something to learn in them.
        init() throws {
            try FileSystem.createDirectory(path + "/texts")
            for file in 0..<6 {
                let lines = (0..<40).map {
                    "Line \($0) of file \(file): the quick brown fox jumps, \($0 * 7 % 13) times.\n"
                }
                try FileSystem.write(lines.joined().utf8, to: "\(path)/texts/\(file).txt")
            }
        }

        func recipe(_ overrides: [String] = []) throws -> PretrainingRecipe {
            try PretrainingRecipe(
                yaml: """
                    size: nano
                    output: run
                    data: {train: texts, tokens_a_step: 64}
                    tokenizer: {vocabulary: 320}
                    model: {hidden_size: 32, layers: 1, heads: 2, feed_forward: 48, context: 32}
                    training: {steps: 6, learning_rate: 0.01, save_every: 3, evaluate_every: 3}
                    """, source: "recipe.yaml", directory: path, overrides: overrides)
        }
    }

    @Test(arguments: PretrainingArchitecture.allCases) func aModelLearnsAndIsLoadedAgain(
        architecture: PretrainingArchitecture
    ) throws {
        let place = try Place()
        let recipe = try place.recipe(["architecture=\(architecture.rawValue)", "training.steps=12"])
        let prepared = try Pretraining(recipe).prepared()
        #expect(prepared.facts.parameters == prepared.model.model.parameterCount)
        #expect(
            prepared.facts.validationTokens > 0 && prepared.facts.trainingTokens > 10 * prepared.facts.validationTokens)
        let result = try prepared.train()
        let (first, best) = (
            try #require(result.summary.initialValidationLoss), try #require(result.summary.bestValidationLoss)
        )
        #expect(best < first - 0.5, "\(architecture): \(first) to \(best)")
        let loaded = try PretrainedModel.load(result.modelDirectory)
        #expect(loaded.model.parameterCount == result.parameters)
        #expect(loaded.tokenizer.vocabularySize == 320)
        #expect(loaded.generationDefaults.endIDs.contains(try #require(loaded.tokenizer.endOfSequence)))

        // Bits per byte, counted anew from the text that the held-out rows stand for
        let run = try RunRecord(recipe.output)
        let reported = try #require(run.best?.others["bits_per_byte"])
        let shards = try TokenShards(recipe.output + "/data/train")
        let rows = try shards.packed(length: 32)
        var (bytes, targets) = (0, 0)
        for row in rows.count - Int((Float(rows.count) * 0.05).rounded())..<rows.count {
            for sequence in rows.sequences(of: row) {
                let learnt = sequence.tokens.dropFirst()
                targets += learnt.count
                bytes += loaded.tokenizer.decode(learnt, skipSpecialTokens: true).utf8.count
            }
        }
        #expect(abs(reported - best / log(2) * Double(targets) / Double(bytes)) < 1e-6)
        #expect(result.bitsPerByte.map { abs($0 - reported) < 1e-9 } == true)
    }

    @Test func aStoppedRunGoesOnToTheSameLosses() throws {
        let (whole, parts) = (try Place(), try Place())
        func losses(_ path: String) throws -> [Double] { try RunRecord(path).steps.map(\.loss) }
        try Pretraining(whole.recipe()).prepared().train()
        var steps = 0
        #expect(throws: MoruError.self) {
            try Pretraining(parts.recipe()).prepared().train(
                events: { if case .step = $0 { steps += 1 } }, isCancelled: { steps >= 4 })
        }
        #expect(throws: MoruError.self) { try Pretraining(parts.recipe()).prepared() }
        var again = Pretraining(try parts.recipe())
        again.existingRun = .resume
        try again.prepared().train()
        #expect(try losses(parts.recipe().output) == losses(whole.recipe().output))
    }

    @Test func aReadyTokenizerAndHeldOutTextsAreUsed() throws {
        let place = try Place()
        try Pretraining(place.recipe()).prepared().train()
        try FileSystem.createDirectory(place.path + "/held-out")
        try FileSystem.write("The quick brown fox, once more.\n".utf8, to: place.path + "/held-out/text.txt")
        let overrides = [
            "output=\(place.path)/second", "tokenizer.path=\(place.path)/run/tokenizer",
            "data.validation=\(place.path)/held-out",
        ]
        let prepared = try Pretraining(place.recipe(overrides)).prepared()
        #expect(!FileSystem.exists(place.path + "/second/tokenizer"))
        #expect(prepared.facts.validationTokens < 32)
        let result = try prepared.train()
        #expect(FileSystem.exists(result.modelDirectory + "/tokenizer.json"))
    }

    @Test func recipesComeBackFromWhatTheyWrite() throws {
        let place = try Place()
        let recipe = try place.recipe([
            "architecture=gru", "report.prompts=[\"a: b\", c]", "training.optimizer=lion", "model.tie_embeddings=false",
            "training.recompute=true",
        ])
        #expect(try PretrainingRecipe(yaml: recipe.yaml, source: "again") == recipe)
        #expect(recipe.prompts == ["a: b", "c"] && recipe.training.warmup == .share(0.05))
        #expect(recipe.resolvedTraining.batchSize == 2 && recipe.resolvedTraining.recomputesActivations)
    }

    @Test(arguments: [
        ("sise: nano", "unknown key sise", "size"), ("model: {layer: 2}", "unknown key model.layer", "model.layers"),
        ("training: {lerning_rate: 1}", "unknown key training.lerning_rate", "training.learning_rate"),
        ("size: huge", "size is huge", "nano"), ("model: {layers: many}", "model.layers is many", "integer"),
        ("data: {validation_share: 0.9}", "validation_share is 0.9", "0.5"), ("[1, 2]", "no keys", "data.train"),
        ("size: nano", "data.train is missing", "files"), ("a: {b: {c: 1}}", "unknown key a.b", "keys"),
        ("training: {batch_size: 4}", "unknown key training.batch_size", ""),
    ]) func badRecipesSayWhatIsWrong(yaml: String, message: String, remedy: String) {
        let error = #expect(throws: MoruError.self) { try PretrainingRecipe(yaml: yaml, source: "recipe.yaml") }
        #expect(error?.message.contains(message) == true, "\(error?.message ?? "")")
        #expect(remedy.isEmpty || error?.remedy?.contains(remedy) == true, "\(error?.remedy ?? "")")
    }

    /// What the table of sizes promises.
    @Test(arguments: [(ModelSize.nano, 1.1), (.micro, 6.9), (.small, 34)]) func sizesAreAsDocumented(
        size: ModelSize, millions: Double
    ) throws {
        for architecture in [PretrainingArchitecture.llama, .lstm, .gru] {
            let json = ModelShape().configuration(architecture, size, vocabularySize: size.vocabularySize)
            let count = try Self.parameterCount(json)
            #expect(abs(Double(count) / 1e6 - millions) / millions < 0.06, "\(architecture): \(count)")
        }
    }

    /// From the configuration alone, so that no large model is made.
    private static func parameterCount(_ json: JSON) throws -> Int {
        func value(_ key: String) throws -> Int { try #require(json[key]?.int) }
        let (vocabulary, dim, layers) = (
            try value("vocab_size"), try value("hidden_size"), try value("num_hidden_layers")
        )
        switch json["cell"]?.string {
        case "lstm": return vocabulary * dim + layers * (8 * dim * dim + 8 * dim)
        case "gru": return vocabulary * dim + layers * (6 * dim * dim + 6 * dim)
        default:
            let inner = try value("intermediate_size")
            return vocabulary * dim + dim + layers * (4 * dim * dim + 3 * dim * inner + 2 * dim)
        }
    }
}
