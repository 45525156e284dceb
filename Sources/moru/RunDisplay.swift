import MoruBase
import MoruTraining

/// Shows the events of a run, of training from scratch as of tuning.
final class RunDisplay {
    private let line: ProgressLine
    private let heldOut: String

    /// - Parameters:
    ///   - title: What is done, such as `tuning`.
    ///   - heldOut: What the measurements on other data are called.
    init(_ title: String, heldOut: String) {
        line = ProgressLine(title, unit: "steps")
        self.heldOut = heldOut
    }

    func show(_ event: TrainingEvent) {
        switch event {
        case .started(let start):
            Terminal.talk(
                "\(start.trainingExamples) examples, \(Format.count(start.inputsPerEpoch)) tokens an epoch "
                    + "(\(Format.count(start.targetsPerEpoch)) trained on), "
                    + "\(Format.count(start.trainableParameters)) parameters move, \(start.totalSteps) steps")
            if start.resumedStep > 0 { Terminal.talk("going on after step \(start.resumedStep)") }
        case .estimated(let estimate): EstimateDisplay.show(estimate)
        case .step(let step):
            line.update(
                step.step, of: step.totalSteps,
                detail: "loss \(Format.fixed(step.loss, 3))  \(Int(step.inputsPerSecond)) tokens/s  "
                    + ByteCount.text(step.peakMemoryBytes))
        case .validation(let validation):
            line.finish()
            let others = validation.others.sorted { $0.key < $1.key }
                .map { "  \($0.key.replacing("_", with: " ")) \(Format.fixed($0.value, 4))" }
            Terminal.talk(
                "step \(validation.step): \(heldOut) loss \(Format.fixed(validation.loss, 4))\(others.joined())"
                    + (validation.isBest ? "  (best so far)" : ""))
        case .checkpoint: break
        case .notice(let text):
            line.finish()
            Terminal.talk("note: \(text)")
        case .stopped(let step):
            line.finish()
            Terminal.talk("stopping after step \(step)")
        case .finished: line.finish()
        }
    }

    func finish() { line.finish() }
}
