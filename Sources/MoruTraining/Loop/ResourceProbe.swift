import Foundation
import MoruBase
import MoruNN
import MoruTensor

/// Finds out what a run will need, by passing a few of its batches through the model and timing what else it does.
///
/// Nothing moves: gradients are computed and thrown away.
struct ResourceProbe {
    private let task: any TrainingTask
    private let method: any TrainingMethod
    private let settings: TrainingSettings
    private let plan: BatchPlan
    private let givenRoom: MachineRoom?
    private let panels: PanelStore
    private let clock = ContinuousClock()

    /// A probe of a trainer's run, whose products find unpacked weights in a store.
    init(_ trainer: Trainer, _ panels: PanelStore) {
        self.panels = panels
        (task, method, settings) = (trainer.task, trainer.method, trainer.settings)
        givenRoom = trainer.room
        plan = BatchPlan(task, settings)
    }

    /// Estimates the run.
    ///
    /// - Parameter directory: Where it will be written.
    /// - Throws: ``MoruError/Code/runMemory`` or ``MoruError/Code/runDisk`` with the nearest settings that would fit, or
    ///   what the task throws.
    func estimate(writingTo directory: String) throws -> ResourceEstimate {
        let room = givenRoom ?? MachineRoom(for: directory)
        let survey = survey()
        let parameters = method.parameters
        let bytes = parameterBytes
        let optimizerBytes = settings.optimizer.stateBytes(of: parameters)
        let averageBytes = settings.averageDecay == nil ? 0 : bytes
        var estimate = ResourceEstimate(
            weightBytes: Allocator.shared.statistics.liveBytes,
            gradientBytes: keepsGradients(survey) ? bytes : 0,
            optimizerBytes: optimizerBytes + averageBytes, activationBytes: 0, secondsPerStep: 0, seconds: 0,
            diskBytes: 0, peakDiskBytes: 0, room: room)
        setDisk(&estimate, checkpoint: bytes + optimizerBytes + averageBytes, result: method.resultBytes ?? bytes)
        try requireDisk(estimate, directory)
        // What is known without a batch already decides for the largest models
        try requireMemory(estimate, activations: nil, survey)

        // the first pass asks the system for its memory and reads weights from the disk, the next has them
        _ = try pass([survey.smallest], survey)
        let small = try pass([survey.smallest], survey)
        if survey.typical.count > 1 {
            let one = try pass(Array(survey.typical.prefix(1)), survey)
            let guess = BatchCost(
                small: (small.inputs, Double(small.activationBytes)), large: (one.inputs, Double(one.activationBytes)))
            try requireMemory(estimate, activations: (guess, survey.largestInputs), survey)
        }
        // While the first unpacks weights, there is less of the rest than there will be
        let first = try pass(survey.typical, survey)
        var large = try pass(survey.typical, survey)
        large.seconds = min(large.seconds, first.seconds)
        let memory = BatchCost(
            small: (small.inputs, Double(small.activationBytes)), large: (large.inputs, Double(large.activationBytes)))
        let time = BatchCost(small: (small.inputs, small.seconds), large: (large.inputs, large.seconds))
        estimate.activationBytes = Int(memory.of(survey.largestInputs))
        func unpackedBytes() -> Int { max(0, Allocator.shared.statistics.liveBytes - estimate.weightBytes) }
        estimate.unpackedBytes = unpackedBytes()
        if let available = room.memoryBytes, estimate.newMemoryBytes > available {
            // Better to unpack them each time than to refuse
            panels.close()
            estimate.unpackedBytes = unpackedBytes()
        }
        try requireMemory(estimate, activations: (memory, survey.largestInputs), survey)
        let update = updateSeconds()
        let steps = Double(settings.totalSteps(stepsPerEpoch: plan.stepsPerEpoch))
        let perStep =
            survey.batchesPerStep * time.fixed + time.perInput * survey.inputsPerStep + update
        estimate.secondsPerStep = perStep
        estimate.seconds =
            steps * perStep + (try measuringSeconds(steps)) + savingSeconds(estimate, steps, directory)
        return estimate
    }

    private var parameterBytes: Int {
        method.parameters.reduce(0) { $0 + $1.value.count * MemoryLayout<Float>.stride }
    }

    // MARK: What the run will see

    private struct Survey {
        /// The smallest example of the first steps, and a whole batch of about the usual size.
        var smallest: Int, typical: [Int]
        /// The inputs of the largest batch.
        var largestInputs: Int
        /// The inputs of the largest example.
        var largestExample: Int
        var inputsPerStep: Double, batchesPerStep: Double
        var hasAccumulation: Bool
    }

    /// Looks through the batches of the run, at most of its first 20 000 examples.
    private func survey() -> Survey {
        let steps = settings.totalSteps(stepsPerEpoch: plan.stepsPerEpoch)
        let looked = max(1, min(steps, 20_000 / max(1, plan.batchSize * plan.accumulation)))
        var batches: [(examples: [Int], inputs: Int)] = []
        for step in 0..<looked { batches += plan.batches(at: step).map { ($0, inputs($0)) } }
        let sorted = batches.sorted { $0.inputs < $1.inputs }
        let typical = sorted[sorted.count / 2].examples
        let sizes = batches.lazy.flatMap(\.examples).map { ($0, self.inputs([$0])) }
        let smallest = sizes.min { $0.1 < $1.1 }?.0 ?? typical[0]
        let total = batches.reduce(0) { $0 + $1.inputs }
        return Survey(
            smallest: smallest, typical: typical, largestInputs: sorted.last?.inputs ?? 0,
            largestExample: sizes.map(\.1).max() ?? 0, inputsPerStep: Double(total) / Double(looked),
            batchesPerStep: Double(batches.count) / Double(looked),
            hasAccumulation: batches.count > looked)
    }

    private func inputs(_ examples: [Int]) -> Int {
        examples.reduce(0) { $0 + task.size(of: $1, in: .training).inputs }
    }

    // MARK: Measuring

    /// Whether the gradients of all parameters are ever in memory together: summed over batches, or to be clipped.
    private func keepsGradients(_ survey: Survey) -> Bool {
        survey.hasAccumulation || !settings.movesDuringBackwardPass
    }

    /// Passes a batch forward and back.
    private func pass(_ examples: [Int], _ survey: Survey) throws -> Pass {
        Allocator.shared.resetPeak()
        let dropout = method.usesDropout ? DropoutSource(seed: 0) : nil
        // While gradients are summed up, those of a batch are added one by one to what is there from the start
        let collects = keepsGradients(survey) && !survey.hasAccumulation
        let started = clock.now
        var gradients: [Tensor] = []
        try valueAndGradients(of: method.parameters) {
            try task.summedLoss(of: examples, in: .training, dropout: dropout)
        } whenComplete: { _, gradient in
            if collects { gradients.append(gradient) }
        }
        let gradientBytes = gradients.reduce(0) { $0 + $1.byteCount }
        gradients = []
        let seconds = started.duration(to: clock.now) / .seconds(1)
        // What stays, such as weights that were unpacked, is no activation
        let after = Allocator.shared.statistics
        return Pass(
            inputs: inputs(examples),
            activationBytes: max(0, after.peakBytes - after.liveBytes - gradientBytes), seconds: seconds)
    }

    private struct Pass {
        var inputs: Int, activationBytes: Int
        var seconds: Double
    }

    /// How long the optimizer takes, timed on stand-ins for one parameter of each shape.
    private func updateSeconds() -> Double {
        var seconds = 0.0
        for (shape, count) in Dictionary(grouping: method.parameters, by: \.value.shape).mapValues(\.count) {
            let elements = shape.reduce(1, *)
            // A part of the rows of a large matrix stands for all, except where the optimizer takes it as a whole
            let divisor = settings.optimizer.kind == .muon || shape.count < 2 ? 1 : max(1, elements >> 22)
            let part = shape.count < 2 ? shape : [max(1, shape[0] / divisor)] + shape.dropFirst()
            let stand = Parameter("stand-in", .zeros(part))
            let gradient = Tensor.ones(part)
            var optimizer = settings.optimizer.make([stand])
            optimizer.update([gradient], learningRate: 0)
            let started = clock.now
            _ = globalNorm([gradient])
            optimizer.update([gradient], learningRate: 0)
            let once = started.duration(to: clock.now) / .seconds(1)
            seconds += once * Double(count) * Double(elements) / Double(max(1, part.reduce(1, *)))
        }
        return seconds
    }

    /// How long the run spends on measuring itself on the validation data.
    private func measuringSeconds(_ steps: Double) throws -> Double {
        let count = task.count(of: .validation)
        guard count > 0 else { return 0 }
        let batches = BatchPlan.sequentialBatches(count, size: settings.batchSize)
        let chosen = batches[batches.count / 2]
        // the second time has its memory
        _ = try task.measure(chosen, in: .validation)
        let started = clock.now
        _ = try task.measure(chosen, in: .validation)
        let seconds = started.duration(to: clock.now) / .seconds(1)
        func inputs(_ examples: some Sequence<Int>) -> Int {
            examples.reduce(0) { $0 + task.size(of: $1, in: .validation).inputs }
        }
        let share = Double(inputs(0..<count)) / Double(max(1, inputs(chosen)))
        return seconds * share * (times(settings.evaluateEvery, steps) + (settings.evaluatesAtStart ? 1 : 0))
    }

    /// How often something happens that happens every so many steps, and after the last.
    private func times(_ interval: Int?, _ steps: Double) -> Double {
        (steps / Double(interval ?? plan.stepsPerEpoch)).rounded(.up)
    }

    // MARK: Disk

    private func setDisk(_ estimate: inout ResourceEstimate, checkpoint: Int, result: Int) {
        let steps = Double(settings.totalSteps(stepsPerEpoch: plan.stepsPerEpoch))
        let saves = Int(min(1e9, times(settings.saveEvery, steps)))
        let results = task.count(of: .validation) > 0 ? Int(min(1e9, times(settings.evaluateEvery, steps))) : saves
        estimate.diskBytes = min(saves, settings.keep) * checkpoint + result
        estimate.peakDiskBytes = min(saves, settings.keep + 1) * checkpoint + min(2, results) * result
    }

    /// How long writing takes, by the time that a few megabytes take.
    private func savingSeconds(_ estimate: ResourceEstimate, _ steps: Double, _ directory: String) -> Double {
        let saves = times(settings.saveEvery, steps)
        let checkpoint = Double(estimate.diskBytes) / min(saves, Double(settings.keep))
        let sample = [UInt8](repeating: 7, count: max(4096, min(16 << 20, Int(checkpoint))))
        let path = MachineRoom.nearestFolder(of: directory) + "/.moru.\(getpid()).probe"
        let started = clock.now
        do { try FileSystem.write(sample, to: path) } catch { return 0 }
        let seconds = started.duration(to: clock.now) / .seconds(1)
        FileSystem.remove(path)
        return saves * seconds * max(1, checkpoint / Double(sample.count))
    }

    // MARK: Refusing

    private func requireDisk(_ estimate: ResourceEstimate, _ directory: String) throws(MoruError) {
        guard let free = estimate.room.diskBytes, estimate.peakDiskBytes > free else { return }
        throw MoruError(
            .runDisk,
            "the run would write up to \(ByteCount.text(estimate.peakDiskBytes)) to \(directory), where "
                + "\(ByteCount.text(free)) are free",
            remedy: (settings.keep > 1 ? "keep fewer checkpoints (training.keep=1), " : "")
                + "free some space, or choose another output directory")
    }

    /// Refuses what cannot fit.
    ///
    /// - Parameter activations: What activations cost, and the inputs of the largest batch; nil while that is not known.
    private func requireMemory(
        _ estimate: ResourceEstimate, activations: (cost: BatchCost, inputs: Int)?, _ survey: Survey
    ) throws(MoruError) {
        guard let available = estimate.room.memoryBytes else { return }
        let fixed = estimate.gradientBytes + estimate.optimizerBytes + estimate.unpackedBytes
        let needed = fixed + (activations.map { Int($0.cost.of($0.inputs)) } ?? 0)
        guard needed > available else { return }
        var remedies: [String] = []
        if let activations, plan.batchSize > 1, survey.largestExample > 0 {
            // Summing batches up keeps gradients; and a tenth is left for what a line does not see
            let moreGradients = survey.hasAccumulation ? 0 : parameterBytes
            let inputs = activations.cost.inputs(within: 0.9 * Double(available - fixed - moreGradients))
            let perExample = max(1, activations.inputs / plan.batchSize)
            // With batches of other sizes their largest may be made of the longest examples
            let size = min(plan.batchSize - 1, inputs / max(perExample, survey.largestExample))
            if size >= 1, !task.examplesAreIndependent {
                remedies.append("training.batch_size=\(size) would fit")
            } else if size >= 1 {
                let accumulation = (plan.batchSize * plan.accumulation + size - 1) / size
                remedies.append(
                    "training.batch_size=\(size) with training.gradient_accumulation=\(accumulation) would fit")
            }
        }
        if remedies.isEmpty, fixed > available {
            if let frugal = frugalSettings(estimate, within: available, survey) {
                remedies.append("\(frugal) would leave room")
            }
            if method.resultName != RunDirectory.adapterName {
                remedies.append("method=lora moves a small part of the parameters")
            }
        } else if remedies.isEmpty {
            remedies.append("shorten the examples (data.max_length)")
        }
        remedies.append("free some memory")
        throw MoruError(
            .runMemory,
            "the run would need \(ByteCount.text(needed)) of memory beyond the model, "
                + "\(ByteCount.text(available)) are available", remedy: remedies.joined(separator: "; "))
    }

    /// Settings with which gradients and the optimizer's memory would fit, the nearest first.
    private func frugalSettings(_ estimate: ResourceEstimate, within available: Int, _ survey: Survey) -> String? {
        func state(_ kind: OptimizerSettings.Kind) -> Int {
            var other = settings.optimizer
            other.kind = kind
            return other.stateBytes(of: method.parameters)
        }
        let rest = estimate.optimizerBytes - state(settings.optimizer.kind)
        let kinds: [OptimizerSettings.Kind] =
            settings.optimizer.kind == .adamw ? [.adamw8Bit, .adafactor] : [.adafactor]
        var choices: [(text: String, bytes: Int)] = []
        // Whether gradients can be done without
        let isAlone = !survey.hasAccumulation && estimate.gradientBytes > 0
        if isAlone { choices.append(("training.clip_norm=0", estimate.optimizerBytes)) }
        for kind in kinds where kind != settings.optimizer.kind {
            let text = "training.optimizer=\(kind.rawValue)"
            choices.append((text, estimate.gradientBytes + rest + state(kind)))
            if isAlone { choices.append(("\(text) with training.clip_norm=0", rest + state(kind))) }
        }
        return choices.first { $0.bytes < available - estimate.unpackedBytes }?.text
    }
}
