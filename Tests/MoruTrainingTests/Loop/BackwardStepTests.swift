import Foundation
import MoruBase
import MoruModels
import MoruNN
import MoruTensor
import MoruTestKit
import Synchronization
import Testing

@testable import MoruTraining

/// Runs whose parameters move during the backward pass, since nothing clips their gradients.
@Suite struct BackwardStepTests {
    /// A run in which all of a model with tied embeddings moves.
    private func trainer(
        clipNorm: Float, accumulation: Int, recomputes: Bool = false, _ kind: OptimizerSettings.Kind = .adamw
    ) throws -> Trainer {
        var settings = SmallRun().settings
        settings.clipNorm = clipNorm
        settings.gradientAccumulation = accumulation
        settings.recomputesActivations = recomputes
        settings.optimizer = OptimizerSettings(kind, weightDecay: 0.01)
        settings.averageDecay = 0.9
        settings.saveEvery = 2
        return Trainer(of: try TestModels.tinyLlama(seed: 3), on: SmallRun.examples(10), settings: settings)
    }

    /// Losses and norms of a run, and where its parameters end.
    private func run(_ trainer: Trainer) throws -> (figures: [[Double]], values: [[Float]]) {
        let folder = try TemporaryFolder()
        var figures: [[Double]] = []
        try trainer.run(in: folder.path + "/run") {
            if case .step(let step) = $0 { figures.append([step.loss, step.gradientNorm]) }
        }
        return (figures, trainer.method.parameters.map { $0.value.values() })
    }

    @Test(arguments: [(1, "adamw"), (3, "adamw"), (1, "adamw_8bit"), (1, "muon"), (1, "adafactor")])
    func movesAsAfterThePass(accumulation: Int, optimizer: String) throws {
        let kind = try #require(OptimizerSettings.Kind(rawValue: optimizer))
        // A norm that no gradient has makes the run wait for all gradients, and changes none
        let whole = try run(trainer(clipNorm: 1e30, accumulation: accumulation, kind))
        #expect(whole.figures.count == (accumulation == 1 ? 15 : 6))
        for recomputes in [false, true] {
            let during = try run(
                trainer(clipNorm: 0, accumulation: accumulation, recomputes: recomputes, kind))
            #expect(during.figures == whole.figures, "recomputes: \(recomputes)")
            expectEqual(during.values, whole.values, "recomputes: \(recomputes)")
        }
    }

    @Test func aRunThatWasStoppedGoesOnTheSame() throws {
        let folder = try TemporaryFolder()
        let reference = try run(trainer(clipNorm: 0, accumulation: 1))
        var figures: [[Double]] = []
        func take(_ event: TrainingEvent) {
            if case .step(let step) = event { figures.append([step.loss, step.gradientNorm]) }
        }
        expectError(.cancelled, "stopped after step 5") {
            try trainer(clipNorm: 0, accumulation: 1).run(
                in: folder.path + "/run", events: take, isCancelled: { figures.count == 5 })
        }
        let rest = try trainer(clipNorm: 0, accumulation: 1)
        try rest.run(in: folder.path + "/run", existing: .resume, events: take)
        #expect(figures == reference.figures)
        expectEqual(rest.method.parameters.map { $0.value.values() }, reference.values)
    }

    /// A task whose loss is always finite, but from some step on not the gradient of one parameter.
    private struct Overflowing: TrainingTask {
        let base: LanguageModelTask
        let parameter: Parameter
        let isOn: Switch

        func count(of split: DataSplit) -> Int { base.count(of: split) }
        func size(of example: Int, in split: DataSplit) -> ExampleSize { base.size(of: example, in: split) }
        var identity: [(key: String, value: String)] { base.identity }
        func diagnosis() -> String? { base.diagnosis() }
        func summedLoss(of examples: [Int], in split: DataSplit, dropout: DropoutSource?) throws -> Tensor {
            let loss = base.summedLoss(of: examples, in: split, dropout: dropout)
            // Nothing, whose slope is more than an f32 holds
            return isOn.value ? loss + (parameter.tensor * 0 * 1e30 * 1e30).sum() : loss
        }
    }

    @Test(arguments: [Float(0), 1]) func aGradientThatIsNotFiniteEndsTheRunBeforeAnythingIsSaved(
        clipNorm: Float
    ) throws {
        let folder = try TemporaryFolder()
        let made = try trainer(clipNorm: clipNorm, accumulation: 1)
        let base = try #require(made.task as? LanguageModelTask)
        let parameter = try #require(made.method.parameters.first { $0.path.contains("layers.0.mlp.up_proj") })
        let isOn = Switch()
        let failing = Trainer(
            task: Overflowing(base: base, parameter: parameter, isOn: isOn), method: made.method,
            settings: made.settings)
        let run = folder.path + "/run"
        let said =
            clipNorm == 0
            ? "the gradient of \(parameter.path) is not finite" : "the gradient's norm is not a number"
        expectError(
            .trainingDiverged, "step 4 of 15: \(said)", "the checkpoint of step 2 is intact",
            clipNorm == 0 ? "training.clip_norm=1" : "lower training.clip_norm"
        ) {
            try failing.run(in: run) { if case .step(let step) = $0, step.step == 3 { isOn.value = true } }
        }
        #expect(try FileSystem.list(run + "/checkpoints") == ["step-000002"])
        // From there it goes on as if nothing had happened
        let rest = try trainer(clipNorm: clipNorm, accumulation: 1)
        try rest.run(in: run, existing: .resume)
        let reference = try self.run(trainer(clipNorm: clipNorm, accumulation: 1))
        expectEqual(rest.method.parameters.map { $0.value.values() }, reference.values)
    }
}

/// A switch that tests and tasks share.
private final class Switch: Sendable {
    private let state = Mutex(false)
    var value: Bool {
        get { state.withLock { $0 } }
        set { state.withLock { $0 = newValue } }
    }
}
