import MoruBase
import MoruNN
import MoruTensor
import MoruTestKit
import Testing

@testable import MoruTraining

@Suite struct EarlyStoppingTests {
    @Test func patienceCountsLooksWithoutAnImprovement() {
        var state = StoppingState()
        var settings = EarlyStopping(patience: 2, minDelta: 0.1)
        #expect([1.0, 0.95, 0.8, 0.75, 0.71].map { state.look($0, settings) } == [false, false, false, false, true])
        #expect(state.best == 0.8)
        settings = EarlyStopping(patience: 1, mode: .max)
        state = StoppingState()
        #expect([0.5, 0.6, 0.6].map { state.look($0, settings) } == [false, false, true])
        let copy = StoppingState(json: state.json)
        #expect(copy == state)
    }

    private var small: SmallRun {
        var small = SmallRun()
        // a rate at which nothing gets better
        small.settings.learningRate = 1e-12
        small.settings.length = .steps(40)
        small.settings.evaluateEvery = 3
        small.settings.earlyStopping = EarlyStopping(patience: 2, minDelta: 0.01)
        return small
    }

    @Test(arguments: ["validation_loss", "loss"]) func endsTheRunAndStaysEnded(metric: String) throws {
        let folder = try TemporaryFolder()
        var small = small
        small.settings.earlyStopping.metric = metric
        small.settings.earlyStopping.minDelta = 1
        let events = try small.run(in: folder.path + "/run")
        #expect(events.losses.count == 9 && events.checkpoints.last == 9)
        guard case .finished(let summary) = try #require(events.last) else {
            Issue.record("a run ends with finished")
            return
        }
        #expect(summary.endedEarly && summary.steps == 9)
        #expect(
            events.contains {
                if case .notice(let text) = $0 { text.contains("ended early after step 9") } else { false }
            })
        let again = try small.run(in: folder.path + "/run", existing: .resume)
        #expect(again.losses.isEmpty && again.last == .finished(summary))
    }

    @Test func saysWhatThereIsToWatch() throws {
        let folder = try TemporaryFolder()
        var small = small
        small.settings.earlyStopping.metric = "validation_los"
        expectError(.recipeValue, "early_stopping.metric is validation_los", "did you mean validation_loss?") {
            try small.run(in: folder.path + "/run")
        }
        small.settings.earlyStopping.metric = "validation_loss"
        small.heldOut = nil
        expectError(.recipeValue, "there is no validation data", "watch loss") {
            try small.run(in: folder.path + "/other")
        }
    }

    /// The average is what is measured and saved; the run itself goes on with the weights.
    @Test func theResultIsTheAverage() throws {
        let folder = try TemporaryFolder()
        var small = SmallRun()
        small.heldOut = nil
        let plain = try small.run(in: folder.path + "/plain").losses
        small.settings.averageDecay = 0.9
        let averaged = try small.run(in: folder.path + "/averaged").losses
        #expect(plain == averaged)
        let average = try SafetensorsFile(
            path: folder.path + "/averaged/checkpoints/step-000009/optimizer.safetensors")
        let (saved, last) = (
            try SafetensorsFile(path: folder.path + "/averaged/adapter/adapter_model.safetensors"),
            try SafetensorsFile(path: folder.path + "/plain/adapter/adapter_model.safetensors")
        )
        let path = "model.layers.0.self_attn.q_proj.lora_B.weight"
        let found = try saved.tensor("base_model.model." + path).values()
        try expectEqual(found, average.tensor(path + ".average").values())
        #expect(try found != last.tensor("base_model.model." + path).values())
    }

    /// Every optimizer learns, and goes on from a checkpoint to the same losses.
    @Test(arguments: OptimizerSettings.Kind.allCases) func everyOptimizerLearnsAndResumes(kind: OptimizerSettings.Kind)
        throws
    {
        let folder = try TemporaryFolder()
        var small = SmallRun()
        small.settings.optimizer = OptimizerSettings(kind, weightDecay: 0.01)
        small.settings.learningRate = [.adafactor: 1, .sgd: 0.3, .lion: 3e-3][kind] ?? 1e-2
        small.settings.length = .epochs(12)
        small.settings.saveEvery = 5
        let whole = try small.run(in: folder.path + "/run")
        let (first, last) = (whole.losses.prefix(3).reduce(0, +), whole.losses.suffix(3).reduce(0, +))
        #expect(last < 0.97 * first, "\(first) \(last)")
        FileSystem.remove(folder.path + "/run/checkpoints/step-000036")
        let rest = try small.run(in: folder.path + "/run", existing: .resume)
        #expect(rest.losses == Array(whole.losses[35...]))
    }
}
