import Foundation
import MoruBase
import MoruModels
import MoruNN
import MoruTensor
import MoruTestKit
import Testing

@testable import MoruTraining

@Suite
struct TrainerTests {
    @Test func memorisesSentences() throws {
        let model = try TestModels.tinyPretrained(seed: nil)
        let encoder = ExampleEncoder(model)
        let sentences = ["the anvil rings", "a hammer falls", "sparks go out", "iron bends"]
        let examples = try sentences.map { try encoder.encode(.text($0)) }
        let targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
        let adapter = try LoRAAdapter(
            LoRAConfiguration(rank: 16, alpha: 32, targets: targets), adapting: model.model.linears, seed: 0)
        var settings = TrainingSettings()
        settings.length = .steps(200)
        settings.batchSize = 4
        settings.learningRate = 2e-2
        settings.saveEvery = 1_000
        let folder = try TemporaryFolder()
        let summary = try Trainer(of: model.model, adapter, on: examples, settings: settings)
            .run(in: folder.path + "/run")
        // the frozen output table is small, so that no loss gets far below 2
        #expect(try #require(summary.lastLoss) < 0.5 * #require(summary.firstLoss))

        // greedily, each sentence goes on from its first two letters as it was learnt
        let loaded = try LoRAAdapter.load(from: folder.path + "/run/adapter", for: model.model)
        for example in examples {
            var tokens = Array(example.tokens.prefix(2))
            while tokens.count < example.tokens.count {
                let hidden = model.model.hiddenStates(TokenBatch([tokens], adapter: loaded))
                let logits = model.model.logits(hidden.rows(tokens.count - 1..<tokens.count)).values()
                tokens.append(Int32(logits.indices.max { logits[$0] < logits[$1] } ?? 0))
            }
            #expect(tokens == example.tokens, "\(model.tokenizer.decode(tokens))")
        }
    }

    /// A step over 4 examples at once is the step over 4 batches of 1, and over 2 of 2.
    @Test func accumulationIsExact() throws {
        var losses: [[Double]] = []
        for (batchSize, accumulation) in [(4, 1), (1, 4), (2, 2)] {
            var small = SmallRun()
            (small.settings.batchSize, small.settings.gradientAccumulation) = (batchSize, accumulation)
            let folder = try TemporaryFolder()
            losses.append(try small.run(in: folder.path + "/run").losses)
        }
        #expect(losses[0].count == 9)
        for other in losses.dropFirst() {
            expectClose(other.map { Float($0) }, losses[0].map { Float($0) }, absolute: 1e-5, relative: 1e-5)
        }
    }

    @Test func sameSeedSameRunAnotherSeedAnotherRun() throws {
        let folder = try TemporaryFolder()
        var small = SmallRun()
        small.lora.dropout = 0.2
        let first = try small.run(in: folder.path + "/1")
        let second = try small.run(in: folder.path + "/2")
        small.settings.seed += 1
        let third = try small.run(in: folder.path + "/3")
        #expect(first.losses == second.losses && first.validationLosses == second.validationLosses)
        #expect(zip(first.losses, third.losses).allSatisfy { $0 != $1 })
    }

    @Test func keepsTheBestAndPrunesCheckpoints() throws {
        var small = SmallRun()
        // a rate this high soon overshoots, so that the last adapter is not the best
        small.settings.learningRate = 0.3
        small.settings.schedule = .constant
        small.settings.length = .steps(9)
        small.settings.evaluateEvery = 1
        small.settings.saveEvery = 2
        small.settings.keep = 2
        let folder = try TemporaryFolder()
        let run = folder.path + "/run"
        let trainer = try small.trainer()
        var events: [TrainingEvent] = []
        let summary = try trainer.run(in: run) { events.append($0) }
        let best = try #require(events.validationLosses.min())
        #expect(summary.bestValidationLoss == best)
        #expect(summary.bestStep == events.validationLosses.firstIndex(of: best).map { $0 + 1 })
        #expect(try #require(events.validationLosses.last) > best, "the rate is too low for this test to mean anything")
        #expect(events.checkpoints == [2, 4, 6, 8, 9])
        #expect(try FileSystem.list(run + "/checkpoints") == ["step-000008", "step-000009"])

        let model = try TestModels.tinyLlama()
        let task = LanguageModelTask(
            model: model, adapter: try LoRAAdapter.load(from: run + "/adapter", for: model),
            training: TokenizedDataset(source: "made up", examples: []))
        let heldOut = try #require(small.heldOut)
        let loss = Runtime.withPrecision(.f32) { task.summedLoss(of: heldOut).scalar }
        let targets = heldOut.reduce(0) { $0 + $1.targetCount }
        expectClose([loss / Float(targets)], [Float(best)], absolute: 1e-5, relative: 1e-5)
    }

    @Test func withoutValidationTheLastIsKept() throws {
        var small = SmallRun()
        small.heldOut = nil
        let folder = try TemporaryFolder()
        let trainer = try small.trainer()
        let summary = try trainer.run(in: folder.path + "/run")
        #expect(summary.bestValidationLoss == nil && summary.steps == 9)
        let loaded = try LoRAAdapter.load(from: folder.path + "/run/adapter", for: TestModels.tinyLlama())
        for (parameter, other) in zip(trainer.method.parameters, loaded.parameters) {
            expectEqual(parameter.value, other.value)
        }
    }

    @Test func writesEvents() throws {
        var small = SmallRun()
        small.settings.logEvery = 4
        small.settings.evaluatesAtStart = true
        let folder = try TemporaryFolder()
        let events = try small.run(in: folder.path + "/run")
        let lines = try FileSystem.readText(folder.path + "/run/events.jsonl").split(separator: "\n").map {
            try JSON.parse(String($0), source: "events")
        }
        let kinds = lines.compactMap { $0["event"]?.string }
        #expect(
            kinds == [
                "started", "validation", "validation", "checkpoint", "step", "validation", "checkpoint", "step", "step",
                "validation", "checkpoint", "finished",
            ])
        #expect(lines.filter { $0["event"] == "step" }.compactMap { $0["step"]?.int } == [4, 8, 9])
        #expect(lines.filter { $0["event"] == "step" }.compactMap { $0["loss"]?.double } == events.losses)
        #expect(lines.allSatisfy { $0["time"]?.double ?? 0 > 1.7e9 })
        #expect(lines.last?["best_validation_loss"]?.double == events.validationLosses.dropFirst().min())
    }

    @Test func refusesWhatCannotBeTrained() throws {
        let folder = try TemporaryFolder()
        var small = SmallRun()
        small.examples = []
        expectError(.dataEmpty) { try small.run(in: folder.path + "/run") }
        #expect(!FileSystem.exists(folder.path + "/run"))
    }

    @Test func stopsWhereTheLossIsNotANumber() throws {
        let model = try TestModels.tinyLlama()
        let weight = try #require(model.linears.first { $0.path.hasSuffix("layers.1.mlp.up_proj") }).weight
        var values = weight.value.values()
        values[5] = .nan
        weight.value = Tensor(values, shape: weight.value.shape)
        let adapter = try LoRAAdapter(SmallRun().lora, adapting: model.linears, seed: 0)
        let trainer = Trainer(of: model, adapter, on: SmallRun.examples(4), settings: SmallRun().settings)
        let folder = try TemporaryFolder()
        expectError(.trainingDiverged, "step 1 of", "model.layers.1.mlp.up_proj.weight", "intact copy") {
            try trainer.run(in: folder.path + "/run")
        }
        #expect(!FileSystem.exists(folder.path + "/run/adapter"))
    }

    @Test func divergenceLeavesTheLastCheckpoint() throws {
        var small = SmallRun()
        small.settings.saveEvery = 2
        small.settings.evaluateEvery = 2
        let folder = try TemporaryFolder()
        let trainer = try small.trainer()
        let first = trainer.method.parameters[0]
        expectError(.trainingDiverged, "step 4 of 9", first.path) {
            try trainer.run(in: folder.path + "/run") { event in
                guard case .step(let step) = event, step.step == 3 else { return }
                first.value = first.value * .infinity
            }
        }
        #expect(try FileSystem.list(folder.path + "/run/checkpoints") == ["step-000002"])
        // what is left is good enough to go on with
        let rest = try small.run(in: folder.path + "/run", existing: .resume)
        #expect(rest.losses.count == 7)
    }
}
