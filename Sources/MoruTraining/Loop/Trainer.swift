import MoruBase
import MoruNN
import MoruTensor

/// The training loop: takes a task, a method and settings through a run.
///
/// Everything that decides a step (data, dropout, learning rate) depends on the settings and the step's number, and
/// everything else is in the checkpoint, so a resumed run takes the same steps bit for bit on the same machine.
public struct Trainer {
    /// What is learnt.
    public let task: any TrainingTask
    /// Which parameters move.
    public let method: any TrainingMethod
    /// How they move.
    public let settings: TrainingSettings
    /// What the run depends on beyond the task, by name; see ``TrainingTask/identity``.
    public var identity: [(key: String, value: String)] = []
    /// What is written beside the result as `recipe.yaml`.
    public var recipe: String?
    /// What the reader of the run should know, reported once it has begun.
    public var notices: [String] = []

    /// Whether the run is estimated before it starts, and refused when it cannot fit.
    public var estimates = false

    /// What the machine has left, where it is not to be asked.
    var room: MachineRoom?

    /// Makes a trainer.
    public init(task: any TrainingTask, method: any TrainingMethod, settings: TrainingSettings) {
        self.task = task
        self.method = method
        self.settings = settings
    }

    /// What the run will need; nothing moves.
    ///
    /// - Parameter directory: Where it would be written.
    /// - Throws: ``MoruError/Code/dataEmpty``; ``MoruError/Code/runMemory`` or ``MoruError/Code/runDisk`` when it cannot
    ///   fit, with the nearest settings that would; or what the task throws.
    public func estimate(writingTo directory: String) throws -> ResourceEstimate {
        try requireExamples()
        return try withSettings(directory) { try ResourceProbe(self, $0).estimate(writingTo: directory) }
    }

    private func requireExamples() throws(MoruError) {
        guard task.count(of: .training) > 0 else {
            throw MoruError(.dataEmpty, "there are no examples to learn from")
        }
        if !task.examplesAreIndependent, settings.gradientAccumulation > 1 {
            throw MoruError(
                .recipeValue,
                "training.gradient_accumulation is \(settings.gradientAccumulation), but the examples of a batch learn "
                    + "from each other, and not across batches that are summed up",
                remedy: "set it to 1, and raise training.batch_size")
        }
    }

    /// Runs `body` as the settings say; where they leave it open, as the caller's task has it. Quantised weights are
    /// unpacked once for all of it, where that takes no more than a quarter of the memory that the machine has left.
    private func withSettings<Result>(_ directory: String, _ body: (PanelStore) throws -> Result) rethrows -> Result {
        let room = (room ?? MachineRoom(for: directory)).memoryBytes
        let panels = PanelStore(byteLimit: min(PanelStore.usualLimit, (room ?? Int.max) / 4))
        return try settings.withProducts {
            try Runtime.withRecomputation(settings.recomputesActivations || Runtime.shared.recomputesActivations) {
                try Runtime.withPanels(panels) { try body(panels) }
            }
        }
    }

    /// Takes the run to its end.
    ///
    /// - Parameters:
    ///   - directory: Where the run is written: the best result so far in `adapter`, see also ``ExistingRun``.
    ///   - existing: What to do with a run that is there already.
    ///   - events: Told of everything that happens.
    ///   - isCancelled: Asked often; once true, the run saves a checkpoint and stops.
    /// - Throws: ``MoruError/Code/dataEmpty``, ``MoruError/Code/runInUse``, ``MoruError/Code/runExists``,
    ///   ``MoruError/Code/runChanged``, ``MoruError/Code/trainingDiverged``, ``MoruError/Code/cancelled``, or what the
    ///   file system throws. The last checkpoint and the best result stay intact; without clipping, the parameters in
    ///   memory may have taken a part of the step at which training diverged.
    @discardableResult
    public func run(
        in directory: String, existing: ExistingRun = .refuse, events: @escaping (TrainingEvent) -> Void = { _ in },
        isCancelled: @escaping () -> Bool = { false }
    ) throws -> TrainingSummary {
        try requireExamples()
        let place = try RunDirectory(directory, existing: existing)
        return try withSettings(directory) { panels in
            var needs: ResourceEstimate?
            if estimates {
                do {
                    needs = try ResourceProbe(self, panels).estimate(writingTo: directory)
                } catch {
                    place.removeIfUnused()
                    throw error
                }
            }
            var run = TrainingRun(self, place, needs, isCancelled: isCancelled, events: events)
            return try run.run()
        }
    }
}
