import MoruBase

/// Something that happened in a run. Progress bars, logs and registries all read these.
public enum TrainingEvent: Sendable, Hashable {
    /// The run begins, or goes on.
    case started(Start)
    /// What the run will need, as far as that can be told before.
    case estimated(ResourceEstimate)
    /// An optimizer step was taken.
    case step(Step)
    /// The model was measured on the validation data.
    case validation(Validation)
    /// The run could go on from here after a kill.
    case checkpoint(step: Int, path: String)
    /// Something that the reader should know, such as examples that were left out.
    case notice(String)
    /// The run was asked to stop, and did after this step.
    case stopped(step: Int)
    /// The run is complete.
    case finished(TrainingSummary)

    /// What a run is about to do.
    public struct Start: Sendable, Hashable {
        /// Steps of the whole run.
        public var totalSteps: Int
        /// Steps of one pass over the data.
        public var stepsPerEpoch: Int
        /// Steps that were taken before, when the run is resumed; else 0.
        public var resumedStep: Int
        /// Examples to learn from.
        public var trainingExamples: Int
        /// Examples to measure on.
        public var validationExamples: Int
        /// Units that one pass over the training data reads.
        public var inputsPerEpoch: Int
        /// Units that one pass over the training data learns.
        public var targetsPerEpoch: Int
        /// Numbers that move.
        public var trainableParameters: Int
        /// What computes: kernels, threads and precision.
        public var machine: String
    }

    /// One optimizer step.
    public struct Step: Sendable, Hashable {
        /// The step, counted from 1.
        public var step: Int
        /// Steps of the whole run.
        public var totalSteps: Int
        /// Passes over the data so far.
        public var epoch: Double
        /// The mean loss of the step's targets before the parameters moved, in nats.
        public var loss: Double
        /// The learning rate of the step.
        public var learningRate: Float
        /// The norm of the gradients before clipping.
        public var gradientNorm: Double
        /// Units that the model read a second in this step.
        public var inputsPerSecond: Double
        /// How long the rest of the run may take.
        public var secondsLeft: Double
        /// The most bytes that tensors held at once so far.
        public var peakMemoryBytes: Int
    }

    /// A measurement on the validation data.
    public struct Validation: Sendable, Hashable {
        /// Steps taken before.
        public var step: Int
        /// The mean loss of the targets, in nats.
        public var loss: Double
        /// What else the task reports, by name: means over the targets.
        public var others: [String: Double]
        /// Whether this is the lowest loss so far, so that the saved result is now this one.
        public var isBest: Bool
        /// How long it took.
        public var seconds: Double
    }
}

/// What a run came to.
public struct TrainingSummary: Sendable, Hashable {
    /// Steps taken.
    public var steps: Int
    /// The loss of the first and of the last step, in nats.
    public var firstLoss: Double?, lastLoss: Double?
    /// The loss on the validation data before the first step, where it was measured.
    public var initialValidationLoss: Double?
    /// The lowest loss on the validation data, and the step after which it was measured.
    public var bestValidationLoss: Double?, bestStep: Int?
    /// Units that the model read in training.
    public var inputs: Int
    /// How long the run took, with what it took before it was resumed.
    public var seconds: Double
    /// Whether the run ended before its last step because it no longer got better.
    public var endedEarly = false
}

extension TrainingEvent {
    /// The event as an object with the key `event`, as a line of a run's `events.jsonl`.
    public var json: JSON {
        switch self {
        case .started(let start):
            return [
                "event": "started", "total_steps": .int(start.totalSteps), "steps_per_epoch": .int(start.stepsPerEpoch),
                "resumed_step": .int(start.resumedStep), "training_examples": .int(start.trainingExamples),
                "validation_examples": .int(start.validationExamples), "inputs_per_epoch": .int(start.inputsPerEpoch),
                "targets_per_epoch": .int(start.targetsPerEpoch),
                "trainable_parameters": .int(start.trainableParameters), "machine": .string(start.machine),
            ]
        case .estimated(let estimate):
            var object = JSONObject([("event", "estimated")])
            for (key, value) in estimate.json.object?.members.map({ ($0.key, $0.value) }) ?? [] { object[key] = value }
            return .object(object)
        case .step(let step):
            return [
                "event": "step", "step": .int(step.step), "total_steps": .int(step.totalSteps),
                "epoch": .double(step.epoch), "loss": .double(step.loss),
                "learning_rate": .double(Double(step.learningRate)), "gradient_norm": .double(step.gradientNorm),
                "inputs_per_second": .double(step.inputsPerSecond), "seconds_left": .double(step.secondsLeft),
                "peak_memory_bytes": .int(step.peakMemoryBytes),
            ]
        case .validation(let validation):
            return [
                "event": "validation", "step": .int(validation.step), "loss": .double(validation.loss),
                "others": .object(
                    JSONObject(validation.others.sorted { $0.key < $1.key }.map { ($0.key, .double($0.value)) })),
                "is_best": .bool(validation.isBest), "seconds": .double(validation.seconds),
            ]
        case .checkpoint(let step, let path):
            return ["event": "checkpoint", "step": .int(step), "path": .string(path)]
        case .notice(let text): return ["event": "notice", "text": .string(text)]
        case .stopped(let step): return ["event": "stopped", "step": .int(step)]
        case .finished(let summary):
            var object = JSONObject([("event", "finished")])
            for (key, value) in summary.json.object?.members.map({ ($0.key, $0.value) }) ?? [] { object[key] = value }
            return .object(object)
        }
    }
}

extension TrainingSummary {
    /// The summary as an object.
    public var json: JSON {
        func number(_ value: Double?) -> JSON { value.map { .double($0) } ?? .null }
        return [
            "steps": .int(steps), "first_loss": number(firstLoss), "last_loss": number(lastLoss),
            "initial_validation_loss": number(initialValidationLoss),
            "best_validation_loss": number(bestValidationLoss), "best_step": bestStep.map { .int($0) } ?? .null,
            "inputs": .int(inputs), "seconds": .double(seconds), "ended_early": .bool(endedEarly),
        ]
    }

    /// Reads what ``json`` gives.
    init?(json: JSON) {
        guard let steps = json["steps"]?.int, let inputs = json["inputs"]?.int, let seconds = json["seconds"]?.double
        else { return nil }
        self.init(
            steps: steps, firstLoss: json["first_loss"]?.double, lastLoss: json["last_loss"]?.double,
            initialValidationLoss: json["initial_validation_loss"]?.double,
            bestValidationLoss: json["best_validation_loss"]?.double, bestStep: json["best_step"]?.int, inputs: inputs,
            seconds: seconds, endedEarly: json["ended_early"]?.bool ?? false)
    }
}
