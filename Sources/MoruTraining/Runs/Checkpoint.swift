import MoruBase
import MoruNN
import MoruTensor

/// What a run has in memory that its settings do not determine.
///
/// Dropout's randomness depends on the seed and the step alone, so it needs no place here.
struct TrainingState {
    /// What moves the parameters, which it knows.
    var optimizer: any Optimizer
    /// The moving average of the parameters, where one is kept.
    var average: WeightAverage?
    /// What early stopping remembers.
    var stopping = StoppingState()
    /// How far the run has come.
    var progress = TrainingSummary(steps: 0, inputs: 0, seconds: 0)
    /// Where the next step begins in the data.
    var position: DataPosition
    /// Whether the run stopped inside the evaluation that is due after its last step.
    var owesEvaluation = false
}

/// What is needed to go on after a step as if nothing had happened.
struct Checkpoint {
    /// The moved parameters, by path.
    let parameters: SafetensorsFile
    /// What the optimizer remembers, and the moving average.
    let optimizer: SafetensorsFile
    /// What early stopping remembers.
    let stopping: StoppingState
    /// Where the next step begins in the data.
    let position: DataPosition
    /// How far the run had come.
    let progress: TrainingSummary
    /// Whether the evaluation after its last step is still to be done.
    let owesEvaluation: Bool
    /// What the run depends on, by name.
    let identity: [(key: String, value: String)]
    /// What computed it; another machine rounds differently.
    let machine: String

    private static let version = 2
    private static let (parameterFile, optimizerFile, stateFile) = (
        "parameters.safetensors", "optimizer.safetensors", "state.json"
    )

    /// Writes a checkpoint, whole or not at all.
    ///
    /// - Throws: What the file system throws.
    static func write(
        to directory: String, _ training: TrainingState, identity: [(key: String, value: String)], machine: String
    ) throws {
        let state: JSON = [
            "version": .int(version), "progress": training.progress.json, "early_stopping": training.stopping.json,
            "data": training.position.json, "owes_evaluation": .bool(training.owesEvaluation),
            "machine": .string(machine),
            "identity": .object(JSONObject(identity.map { ($0.key, .string($0.value)) })),
        ]
        try FileSystem.writeDirectoryAtomically(to: directory) { temporary in
            try Safetensors.write(
                training.optimizer.parameters.map { (name: $0.path, tensor: $0.value) },
                to: "\(temporary)/\(parameterFile)")
            try Safetensors.write(
                training.optimizer.state + (training.average?.state ?? []), to: "\(temporary)/\(optimizerFile)")
            try FileSystem.write((state.text(pretty: true) + "\n").utf8, to: "\(temporary)/\(stateFile)")
        }
    }

    /// Opens a checkpoint and validates its files.
    ///
    /// - Throws: ``MoruError/Code/checkpointMalformed`` or what the formats throw.
    init(reading directory: String) throws(MoruError) {
        let path = "\(directory)/\(Self.stateFile)"
        let state = try JSON.parse(file: path)
        guard state["version"]?.int == Self.version, let progress = state["progress"].flatMap(TrainingSummary.init),
            let stopping = state["early_stopping"].flatMap(StoppingState.init),
            let position = state["data"].flatMap(DataPosition.init),
            let identity = state["identity"]?.object, let machine = state["machine"]?.string
        else {
            throw MoruError(
                .checkpointMalformed, "\(path) is not a state of a run that this version can resume",
                remedy: "go on with the version that wrote it, or overwrite the run")
        }
        self.progress = progress
        self.stopping = stopping
        self.position = position
        owesEvaluation = state["owes_evaluation"] == true
        self.identity = identity.members.map { ($0.key, $0.value.string ?? "") }
        self.machine = machine
        parameters = try SafetensorsFile(path: "\(directory)/\(Self.parameterFile)")
        optimizer = try SafetensorsFile(path: "\(directory)/\(Self.optimizerFile)")
    }

    /// Puts parameters, optimizer and the rest where they were.
    ///
    /// - Throws: ``MoruError/Code/checkpointMalformed`` when a tensor is missing or does not fit; everything is then as
    ///   it was.
    func restore(_ training: inout TrainingState) throws(MoruError) {
        let parameters = training.optimizer.parameters
        var values: [Tensor] = []
        for parameter in parameters {
            values.append(try Self.tensor(parameter.path, like: parameter.value, in: self.parameters))
        }
        var remembered: [String: Tensor] = [:]
        for (name, tensor) in training.optimizer.state + (training.average?.state ?? []) {
            remembered[name] = try Self.tensor(name, like: tensor, in: optimizer)
        }
        for (parameter, value) in zip(parameters, values) { parameter.value = value }
        training.optimizer.restore(step: progress.steps) { remembered[$0] ?? .zeros([]) }
        training.average?.restore(step: progress.steps) { remembered[$0] ?? .zeros([]) }
        (training.progress, training.stopping, training.position) = (progress, stopping, position)
        training.owesEvaluation = owesEvaluation
    }

    private static func tensor(
        _ name: String, like wanted: Tensor, in file: SafetensorsFile
    ) throws(MoruError) -> Tensor {
        let tensor = try file.tensor(name)
        func malformed(_ problem: String) -> MoruError {
            MoruError(
                .checkpointMalformed, "\(file.path): \(name) \(problem)",
                remedy: "remove this checkpoint to go on from an older one")
        }
        guard tensor.shape == wanted.shape, tensor.dtype == wanted.dtype else {
            throw malformed("is \(tensor.dtype)\(tensor.shape), it must be \(wanted.dtype)\(wanted.shape)")
        }
        switch tensor.dtype {
        case .f32 where !tensor.isFinite: throw malformed("has values that are not finite")
        case .i32 where !tensor.hasFiniteMomentScales:
            throw malformed("has blocks whose scale is not a finite number of at least 0")
        default: break
        }
        // a copy, for the file may be pruned while the run goes on
        return tensor.copied()
    }
}
