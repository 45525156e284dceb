import Foundation
import MoruBase
import MoruNN
import MoruTensor
import MoruTestKit
import Testing

@testable import MoruTraining

@Suite
struct ResumeTests {
    private var small: SmallRun {
        var small = SmallRun()
        small.lora.dropout = 0.1
        small.settings.evaluateEvery = 2
        small.settings.saveEvery = 2
        return small
    }

    /// What a kill leaves behind is what lies on the disk at that moment: the directory is copied away after a step,
    /// and the copy goes on to the same losses, validation losses and adapter, bit for bit.
    @Test(arguments: [(1, nil), (2, nil), (5, nil), (8, nil), (9, nil), (5, DType.q8_0)])
    func afterAKillTheLossesAreTheSame(killedAfter: Int, quantization: DType?) throws {
        let folder = try TemporaryFolder()
        var small = small
        if quantization != nil { (small.quantization, small.settings.precision) = (quantization, .automatic) }
        let (whole, killed) = (folder.path + "/whole", folder.path + "/killed")
        var copied: (any Error)?
        let events = try small.run(in: whole) { event in
            guard case .step(let step) = event, step.step == killedAfter else { return }
            do { try FileManager.default.copyItem(atPath: whole, toPath: killed) } catch { copied = error }
        }
        #expect(copied == nil)
        let rest = try small.run(in: killed, existing: .resume)
        let from = (killedAfter - 1) / 2 * 2
        #expect(rest.losses == Array(events.losses[from...]))
        #expect(rest.validationLosses == Array(events.validationLosses[(from / 2)...]))
        for name in ["adapter_model.safetensors", "adapter_config.json"] {
            try expectEqual(FileSystem.read("\(killed)/adapter/\(name)"), FileSystem.read("\(whole)/adapter/\(name)"))
        }
        // the log has every step once
        let logged = try FileSystem.readText(killed + "/events.jsonl").split(separator: "\n").compactMap {
            let event = try JSON.parse(String($0), source: "events")
            return event["event"] == "step" ? event["loss"]?.double : nil
        }
        #expect(logged == events.losses)
    }

    @Test func cancellingSavesAndGoesOn() throws {
        let folder = try TemporaryFolder()
        let whole = try small.run(in: folder.path + "/whole").losses
        var steps = 0
        let run = folder.path + "/run"
        expectError(.cancelled, "stopped after step 3 of 9", "resume") {
            try small.run(
                in: run, events: { if case .step = $0 { steps += 1 } }, isCancelled: { steps == 3 })
        }
        #expect(try FileSystem.list(run + "/checkpoints") == ["step-000002", "step-000003"])
        #expect(try small.run(in: run, existing: .resume).losses == Array(whole[3...]))
    }

    /// Between the batches of a step nothing has moved yet.
    @Test func cancellingInsideAStepLosesOnlyThatStep() throws {
        let folder = try TemporaryFolder()
        let whole = try small.run(in: folder.path + "/whole").losses
        var asked = 0
        expectError(.cancelled, "stopped after step 1 of 9") {
            // asked before a step and before its second batch, so the fourth time is inside the second step
            try small.run(
                in: folder.path + "/run",
                isCancelled: {
                    asked += 1
                    return asked == 4
                })
        }
        #expect(try small.run(in: folder.path + "/run", existing: .resume).losses == Array(whole[1...]))
    }

    /// Validation stops between its batches; the resumed run validates after the same step, and goes on from there.
    @Test(arguments: [2, 4, 9]) func cancellingInsideValidationGoesOnWithIt(step: Int) throws {
        let folder = try TemporaryFolder()
        var small = small
        small.settings.averageDecay = 0.9
        small.settings.earlyStopping.patience = 20
        let (whole, run) = (folder.path + "/whole", folder.path + "/run")
        let events = try small.run(in: whole)
        var (first, asked): ([TrainingEvent], Int) = ([], 0)
        expectError(.cancelled, "stopped after step \(step) of 9") {
            try small.run(in: run, events: { first.append($0) }) {
                guard first.losses.count == step else { return false }
                // asked before each of the two batches
                asked += 1
                return asked == 2
            }
        }
        let rest = try small.run(in: run, existing: .resume)
        #expect(first.losses + rest.losses == events.losses)
        #expect(first.validationLosses.count == (step - 1) / 2)
        #expect(first.validationLosses + rest.validationLosses == events.validationLosses)
        #expect(rest.losses.count == 9 - step)
        for name in ["adapter/adapter_model.safetensors", "checkpoints/step-000009/optimizer.safetensors"] {
            try expectEqual(FileSystem.read("\(run)/\(name)"), FileSystem.read("\(whole)/\(name)"))
        }
        let states = try [run, whole].map { try JSON.parse(file: $0 + "/checkpoints/step-000009/state.json") }
        #expect(states[0]["early_stopping"] == states[1]["early_stopping"])
        for key in ["best_step", "best_validation_loss"] {
            #expect(states[0]["progress"]?[key] == states[1]["progress"]?[key])
        }
        // Nothing is owed any more
        #expect(try small.run(in: run, existing: .resume).validationLosses.isEmpty)
    }

    @Test func cancellingInsideTheFirstValidationBeginsAnew() throws {
        let folder = try TemporaryFolder()
        var small = small
        small.settings.evaluatesAtStart = true
        let whole = try small.run(in: folder.path + "/whole")
        expectError(.cancelled, "stopped after step 0 of 9") {
            try small.run(in: folder.path + "/run", isCancelled: { true })
        }
        let again = try small.run(in: folder.path + "/run", existing: .resume)
        #expect(again.losses == whole.losses && again.validationLosses == whole.validationLosses)
    }

    @Test func aFinishedRunIsNotRunAgain() throws {
        let folder = try TemporaryFolder()
        let first = try small.run(in: folder.path + "/run")
        let again = try small.run(in: folder.path + "/run", existing: .resume)
        #expect(again.losses.isEmpty)
        guard case .finished(let summary) = try #require(first.last),
            case .finished(let same) = try #require(again.last)
        else {
            Issue.record("a run ends with finished")
            return
        }
        #expect(summary == same)
    }

    @Test func resumingNothingBegins() throws {
        let folder = try TemporaryFolder()
        #expect(try small.run(in: folder.path + "/run", existing: .resume).losses.count == 9)
    }

    @Test func anExistingRunIsRefusedOrReplaced() throws {
        let folder = try TemporaryFolder()
        let run = folder.path + "/run"
        let first = try small.run(in: run)
        expectError(.runExists, run, "adapter", "resume it") { try small.run(in: run) }
        _ = try folder.write("mine", to: "run/notes.txt")
        #expect(try small.run(in: run, existing: .overwrite).losses == first.losses)
        #expect(try FileSystem.readText(run + "/notes.txt") == "mine")
    }

    @Test func aDamagedCheckpointIsPassedOver() throws {
        let folder = try TemporaryFolder()
        let run = folder.path + "/run"
        let whole = try small.run(in: run).losses
        let newest = run + "/checkpoints/step-000009/optimizer.safetensors"
        try FileSystem.write(FileSystem.read(newest).dropLast(7), to: newest)
        let rest = try small.run(in: run, existing: .resume)
        #expect(rest.losses == Array(whole[8...]))
        #expect(rest.contains { if case .notice(let text) = $0 { text.contains("step 9") } else { false } })

        for step in ["step-000008", "step-000009"] {
            _ = try folder.write("{", to: "run/checkpoints/\(step)/state.json")
        }
        expectError(.checkpointMalformed, "no checkpoint", "overwrite") { try small.run(in: run, existing: .resume) }
    }

    @Test func anotherRunIsNotResumed() throws {
        let folder = try TemporaryFolder()
        let run = folder.path + "/run"
        try small.run(in: run)
        var other = small
        other.examples[3] = TokenizedExample(tokens: [1, 2, 3], isTarget: [false, true, true])
        expectError(.runChanged, "the training data changed") { try other.run(in: run, existing: .resume) }
        other = small
        other.heldOut = nil
        expectError(.runChanged, "the validation data changed") { try other.run(in: run, existing: .resume) }

        var trainer = try small.trainer()
        trainer.identity = [("training.learning_rate", "0.5")]
        expectError(.runChanged, "training.learning_rate was unset, is 0.5") {
            try trainer.run(in: run, existing: .resume)
        }
        let weight = try #require((trainer.task as? LanguageModelTask)?.model.parameters[4])
        weight.value = weight.value * 1.01
        trainer.identity = []
        expectError(.runChanged, "the base model's weights changed") { try trainer.run(in: run, existing: .resume) }
    }

    @Test func oneProcessAtATime() throws {
        let folder = try TemporaryFolder()
        let run = folder.path + "/run"
        var second: (any Error)?
        try small.run(in: run) { event in
            guard case .step(let step) = event, step.step == 1 else { return }
            do { try small.run(in: run, existing: .resume) } catch { second = error }
        }
        let error = try #require(second as? MoruError)
        #expect(error.code == .runInUse && error.message.contains("process \(getpid())"), "\(error)")
    }

    /// A kill between the two renames that replace the adapter leaves it under its temporary name.
    @Test func whatAKillLeftLyingIsClearedAway() throws {
        let folder = try TemporaryFolder()
        let run = folder.path + "/run"
        try small.run(in: run)
        let adapter = try FileSystem.read(run + "/adapter/adapter_model.safetensors")
        rename(run + "/adapter", run + "/adapter.123.456.previous")
        _ = try folder.write("half", to: "run/adapter.123.456.partial/adapter_config.json")
        _ = try folder.write("half", to: "run/checkpoints/step-000009.1.2.partial/state.json")
        try small.run(in: run, existing: .resume)
        try expectEqual(FileSystem.read(run + "/adapter/adapter_model.safetensors"), adapter)
        #expect(try FileSystem.list(run) == [".lock", "adapter", "checkpoints", "events.jsonl"])
        #expect(try FileSystem.list(run + "/checkpoints") == ["step-000008", "step-000009"])
    }

    @Test func aPlaceThatCannotBeWrittenIsNamed() throws {
        let folder = try TemporaryFolder()
        let file = try folder.write("", to: "file")
        expectError(.fileUnwritable, file) { try small.run(in: file + "/run") }
    }
}
