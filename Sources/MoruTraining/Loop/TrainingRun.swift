import MoruBase
import MoruNN
import MoruTensor

/// A run under way.
struct TrainingRun {
    private let task: any TrainingTask
    private let method: any TrainingMethod
    private let settings: TrainingSettings
    private let identity: [(key: String, value: String)]
    private let recipe: String?
    private let givenNotices: [String]
    private let estimate: ResourceEstimate?
    private let directory: RunDirectory
    private let isCancelled: () -> Bool
    private let report: (TrainingEvent) -> Void

    private let plan: BatchPlan
    private let totalSteps: Int
    private let schedule: LearningRateSchedule
    private var state: TrainingState
    private var progress: TrainingSummary {
        get { state.progress }
        set { state.progress = newValue }
    }
    private var log: EventLog?
    private let clock = ContinuousClock()
    private var begin: ContinuousClock.Instant
    private var resumed = TrainingSummary(steps: 0, inputs: 0, seconds: 0)

    init(
        _ trainer: Trainer, _ directory: RunDirectory, _ estimate: ResourceEstimate?, isCancelled: @escaping () -> Bool,
        events: @escaping (TrainingEvent) -> Void
    ) {
        (task, method, settings) = (trainer.task, trainer.method, trainer.settings)
        (identity, recipe) = (trainer.identity + trainer.task.identity, trainer.recipe)
        givenNotices = trainer.notices
        self.estimate = estimate
        (self.directory, self.isCancelled, report) = (directory, isCancelled, events)
        plan = BatchPlan(task, settings)
        totalSteps = settings.totalSteps(stepsPerEpoch: plan.stepsPerEpoch)
        schedule = settings.schedule(totalSteps: totalSteps)
        let parameters = method.parameters
        state = TrainingState(
            optimizer: settings.optimizer.make(parameters),
            average: settings.averageDecay.map { WeightAverage(parameters, decay: $0) },
            position: plan.position(at: 0))
        begin = clock.now
    }

    mutating func run() throws -> TrainingSummary {
        try requireMetric()
        let notices = try givenNotices + resume()
        if let recipe { try FileSystem.write(recipe.utf8, to: directory.path + "/recipe.yaml") }
        log = try EventLog(path: directory.events, keepingSteps: progress.steps)
        begin = clock.now
        resumed = progress
        try emit(.started(start))
        if let estimate { try emit(.estimated(estimate)) }
        for notice in notices { try emit(.notice(notice)) }
        if progress.steps == 0, settings.evaluatesAtStart, task.count(of: .validation) > 0 {
            guard let metrics = try validate(isCandidate: false) else { try stop() }
            progress.initialValidationLoss = metrics[EarlyStopping.validationLoss]
        }
        if state.owesEvaluation {
            try evaluate()
            try saveCheckpoint()
        }
        while progress.steps < totalSteps, !progress.endedEarly {
            guard !isCancelled(), let step = try takeStep() else { try stop() }
            if isDue(settings.logEvery) { try emit(.step(step)) }
            if isDue(settings.evaluateEvery) { try evaluate() }
            if isDue(settings.saveEvery) || progress.endedEarly { try saveCheckpoint() }
        }
        try emit(.finished(progress))
        return progress
    }

    // MARK: Steps

    /// Takes one optimizer step; nil when the run was cancelled on the way, with nothing moved.
    private mutating func takeStep() throws -> TrainingEvent.Step? {
        let index = progress.steps
        let started = clock.now
        let batches = plan.batches(at: index)
        let sizes = batches.joined().map { task.size(of: $0, in: .training) }
        let share = 1 / Float(max(1, sizes.reduce(0) { $0 + $1.targets }))
        let inputs = sizes.reduce(0) { $0 + $1.inputs }
        let rate = schedule.rate(at: index)
        var loss = 0.0
        var gradients = StepGradients(method.parameters.count)
        for (number, batch) in batches.enumerated() {
            if number > 0, isCancelled() { return nil }
            let dropout = method.usesDropout ? DropoutSource(seed: dropoutSeed(index, number)) : nil
            let movesNow = settings.movesDuringBackwardPass && number == batches.count - 1
            try valueAndGradients(of: method.parameters) {
                let value = try task.summedLoss(of: batch, in: .training, dropout: dropout) * share
                loss += Double(value.scalar)
                // Before anything moves
                guard loss.isFinite else { throw diverged("the loss is \(Self.name(loss))") }
                if movesNow { state.optimizer.beginStep(learningRate: rate) }
                return value
            } whenComplete: { index, part in
                gradients.add(part, at: index)
                if movesNow { try move(index, &gradients, loss: loss) }
            }
        }
        let norm = gradients.norm()
        if !settings.movesDuringBackwardPass {
            guard norm.isFinite else {
                throw diverged("the gradient's norm is \(Self.name(norm)), at a loss of \(loss)")
            }
            state.optimizer.beginStep(
                learningRate: rate, gradientScale: clippingScale(norm, maximumNorm: settings.clipNorm))
            for index in method.parameters.indices { try move(index, &gradients, loss: loss) }
        }
        state.average?.update()
        state.stopping.lossSum += loss
        state.stopping.lossCount += 1
        progress.steps += 1
        state.position = plan.position(at: progress.steps)
        progress.inputs += inputs
        progress.firstLoss = progress.firstLoss ?? loss
        progress.lastLoss = loss
        updateSeconds()
        let sessionSteps = progress.steps - resumed.steps
        let secondsPerStep = (progress.seconds - resumed.seconds) / Double(sessionSteps)
        return TrainingEvent.Step(
            step: progress.steps, totalSteps: totalSteps,
            epoch: Double(progress.steps) / Double(plan.stepsPerEpoch), loss: loss, learningRate: rate,
            gradientNorm: norm, inputsPerSecond: Double(inputs) / max(1e-9, seconds(since: started)),
            secondsLeft: secondsPerStep * Double(totalSteps - progress.steps),
            peakMemoryBytes: Allocator.shared.statistics.peakBytes)
    }

    /// Moves a parameter against its gradient, which is then freed.
    private mutating func move(_ index: Int, _ gradients: inout StepGradients, loss: Double) throws {
        guard let gradient = gradients.take(index) else {
            // Parameters nearer to the loss have moved, but a run saves whole steps only
            throw diverged(
                "the gradient of \(state.optimizer.parameters[index].path) is not finite, at a loss of \(loss)")
        }
        state.optimizer.move(index, against: gradient)
    }

    private func dropoutSeed(_ step: Int, _ batch: Int) -> UInt64 {
        derivedSeed(settings.seed, 0x6472_6F70, UInt64(step), UInt64(batch))
    }

    /// Whether something that happens every so many steps (nil: every epoch) happens now. It does after the last step.
    private func isDue(_ interval: Int?) -> Bool {
        progress.steps == totalSteps || progress.steps % (interval ?? plan.stepsPerEpoch) == 0
    }

    /// A number that is not finite, for people: C prints some NaNs as `-nan`.
    private static func name(_ number: Double) -> String { number.isNaN ? "not a number" : "\(number)" }

    private func diverged(_ what: String) -> MoruError {
        let place = "step \(progress.steps + 1) of \(totalSteps): \(what)"
        if let cause = task.diagnosis() {
            return MoruError(
                .trainingDiverged, "\(place); \(cause)", remedy: "use an intact copy of the model")
        }
        let saved = (try? directory.checkpointSteps().first).flatMap { $0 }
        let kept = saved.map { "; the checkpoint of step \($0) is intact" } ?? ""
        return MoruError(
            .trainingDiverged, place + kept,
            remedy: "lower training.learning_rate, lengthen the warm-up, or "
                + (settings.clipNorm == 0 ? "clip gradients (training.clip_norm=1)" : "lower training.clip_norm"))
    }

    // MARK: Validation

    /// Looks up from the work: measures on the validation data, if there is any, and ends the run if it no longer gets
    /// better. A run that is cancelled meanwhile stops, and does this first when it is resumed.
    private mutating func evaluate() throws {
        state.owesEvaluation = true
        guard var metrics = task.count(of: .validation) > 0 ? try validate(isCandidate: true) : [:] else { try stop() }
        state.owesEvaluation = false
        guard let patience = settings.earlyStopping.patience else { return }
        let mean = state.stopping.lossSum / Double(max(1, state.stopping.lossCount))
        metrics[EarlyStopping.trainingLoss] = mean
        let name = settings.earlyStopping.metric
        guard let value = metrics[name] else {
            let nearest = nearestName(to: name, among: metrics.keys).map { "; did you mean \($0)?" } ?? ""
            throw MoruError(
                .recipeValue, "early_stopping.metric is \(name), which this run does not report",
                remedy: "choose from \(metrics.keys.sorted().joined(separator: ", "))\(nearest)")
        }
        guard state.stopping.look(value, settings.earlyStopping), progress.steps < totalSteps else { return }
        progress.endedEarly = true
        try emit(
            .notice(
                "ended early after step \(progress.steps) of \(totalSteps): \(name) is \(value) and was no better than "
                    + "\(state.stopping.best ?? value) the last \(patience) times"))
    }

    /// Refuses a metric that will never be measured.
    private func requireMetric() throws(MoruError) {
        let stopping = settings.earlyStopping
        guard stopping.patience != nil, stopping.metric != EarlyStopping.trainingLoss,
            task.count(of: .validation) == 0
        else { return }
        throw MoruError(
            .recipeValue, "early_stopping.metric is \(stopping.metric), but there is no validation data",
            remedy: "give data.validation, or watch \(EarlyStopping.trainingLoss)")
    }

    /// Measures on the validation data, and saves the result if its loss is the lowest.
    ///
    /// - Returns: The figures by name; nil when the run was cancelled on the way, with nothing saved.
    private mutating func validate(isCandidate: Bool) throws -> [String: Double]? {
        let started = clock.now
        let count = task.count(of: .validation)
        let targets = Double(
            max(1, (0..<count).reduce(0) { $0 + task.size(of: $1, in: .validation).targets }))
        var total = TaskMeasurement(loss: 0)
        let outcome = try withResult { () throws -> Bool? in
            for batch in BatchPlan.sequentialBatches(count, size: settings.batchSize) {
                if isCancelled() { return nil }
                let part = try task.measure(batch, in: .validation)
                total.loss += part.loss
                total.others.merge(part.others, uniquingKeysWith: +)
            }
            guard (total.loss / targets).isFinite else {
                throw diverged("the validation loss is \(total.loss / targets)")
            }
            guard isCandidate, total.loss / targets < progress.bestValidationLoss ?? .infinity else { return false }
            try method.save(to: directory.result(of: method))
            return true
        }
        guard let isBest = outcome else { return nil }
        let loss = total.loss / targets
        let others = task.figures(of: total, targets: targets)
        if isBest { (progress.bestValidationLoss, progress.bestStep) = (loss, progress.steps) }
        updateSeconds()
        try emit(
            .validation(
                TrainingEvent.Validation(
                    step: progress.steps, loss: loss, others: others, isBest: isBest, seconds: seconds(since: started)))
        )
        var metrics = [EarlyStopping.validationLoss: loss]
        for (name, value) in others { metrics["validation_" + name] = value }
        return metrics
    }

    /// Calls `body` while the parameters are what the run's result would be: their moving average, where one is kept.
    private func withResult<Result>(_ body: () throws -> Result) rethrows -> Result {
        try state.average?.whileInPlace(body) ?? body()
    }

    // MARK: Stopping and going on

    /// Saves what is needed to go on; without validation data, the result so far too.
    private mutating func saveCheckpoint() throws {
        updateSeconds()
        if task.count(of: .validation) == 0 { try withResult { try method.save(to: directory.result(of: method)) } }
        let path = directory.checkpoint(progress.steps)
        try Checkpoint.write(to: path, state, identity: identity, machine: machine)
        try directory.pruneCheckpoints(keeping: settings.keep)
        try emit(.checkpoint(step: progress.steps, path: path))
    }

    private mutating func stop() throws -> Never {
        if progress.steps > resumed.steps, try directory.checkpointSteps().first != progress.steps {
            try saveCheckpoint()
        }
        try emit(.stopped(step: progress.steps))
        throw MoruError(
            .cancelled, "stopped after step \(progress.steps) of \(totalSteps)",
            remedy: "resume the run to go on from there")
    }

    /// Goes back to the newest checkpoint that is intact, if there is any.
    ///
    /// - Returns: What the reader should know.
    private mutating func resume() throws(MoruError) -> [String] {
        var notices: [String] = []
        for step in try directory.checkpointSteps() {
            let path = directory.checkpoint(step)
            do throws(MoruError) {
                let checkpoint = try Checkpoint(reading: path)
                try requireSameRun(checkpoint)
                guard checkpoint.position == plan.position(at: checkpoint.progress.steps) else {
                    throw MoruError(
                        .checkpointMalformed,
                        "\(path): after step \(checkpoint.progress.steps) the run is not at example "
                            + "\(checkpoint.position.index) of epoch \(checkpoint.position.epoch + 1)",
                        remedy: "remove this checkpoint to go on from an older one")
                }
                try checkpoint.restore(&state)
                if checkpoint.machine != machine {
                    notices.append(
                        "the run started on \(checkpoint.machine) and continues on \(machine): losses may differ in their "
                            + "last digits")
                }
            } catch  where error.code != .runChanged {
                notices.append("the checkpoint of step \(step) was passed over: \(error.message)")
                continue
            }
            let hasNoResultYet = progress.bestStep == nil && (step < totalSteps || state.owesEvaluation)
            guard hasNoResultYet || FileSystem.isDirectory(directory.result(of: method)) else {
                throw MoruError(
                    .checkpointMalformed, "\(directory.result(of: method)) is gone, the best result of the run so far",
                    remedy: "overwrite the run")
            }
            return notices
        }
        guard notices.isEmpty else {
            throw MoruError(
                .checkpointMalformed, "no checkpoint of \(directory.path) is intact: \(notices[0])",
                remedy: "overwrite the run")
        }
        return []
    }

    private func requireSameRun(_ checkpoint: Checkpoint) throws(MoruError) {
        let before = Dictionary(checkpoint.identity.map { ($0.key, $0.value) }) { first, _ in first }
        let now = Dictionary(identity.map { ($0.key, $0.value) }) { first, _ in first }
        var differences: [String] = []
        for key in identity.map(\.key) + checkpoint.identity.map(\.key) where before[key] != now[key] {
            let text =
                key.hasPrefix("the ")
                ? "\(key) changed" : "\(key) was \(before[key] ?? "unset"), is \(now[key] ?? "unset")"
            if !differences.contains(text) { differences.append(text) }
        }
        guard differences.isEmpty else {
            throw MoruError(
                .runChanged,
                "\(directory.path) cannot be resumed, for it would be another run: \(differences.joined(separator: "; "))",
                remedy: "put back what changed, overwrite the run, or choose another output directory")
        }
    }

    // MARK: Reporting

    private mutating func emit(_ event: TrainingEvent) throws {
        try log?.append(event)
        report(event)
    }

    private var start: TrainingEvent.Start {
        let order = plan.order
        let sizes = (0..<order.length).map { task.size(of: order.example(epoch: 0, index: $0), in: .training) }
        return TrainingEvent.Start(
            totalSteps: totalSteps, stepsPerEpoch: plan.stepsPerEpoch, resumedStep: progress.steps,
            trainingExamples: order.length, validationExamples: task.count(of: .validation),
            inputsPerEpoch: sizes.reduce(0) { $0 + $1.inputs }, targetsPerEpoch: sizes.reduce(0) { $0 + $1.targets },
            trainableParameters: method.parameters.reduce(0) { $0 + $1.value.count }, machine: machine)
    }

    private var machine: String {
        let runtime = Runtime.shared
        return "\(runtime.kernelName) kernels, \(runtime.threads.threadCount) threads, \(runtime.precision.rawValue)"
    }

    private mutating func updateSeconds() { progress.seconds = resumed.seconds + seconds(since: begin) }

    private func seconds(since instant: ContinuousClock.Instant) -> Double {
        instant.duration(to: clock.now) / .seconds(1)
    }
}
