import MoruBase
import MoruNN
import MoruTensor

/// What is needed to go on after a step as if nothing had happened.
///
/// The order of the data and dropout's randomness depend on the seed and the step alone, so neither needs a place here.
struct Checkpoint {
    /// The moved parameters, by path.
    let parameters: SafetensorsFile
    /// The optimizer's moments.
    let optimizer: SafetensorsFile
    /// How far the run had come.
    let progress: TrainingSummary
    /// What the run depends on, by name.
    let identity: [(key: String, value: String)]
    /// What computed it; another machine rounds differently.
    let machine: String

    private static let version = 1
    private static let (parameterFile, optimizerFile, stateFile) = (
        "parameters.safetensors", "optimizer.safetensors", "state.json"
    )

    /// Writes a checkpoint, whole or not at all.
    ///
    /// - Throws: What the file system throws.
    static func write(
        to directory: String, parameters: [Parameter], optimizer: AdamW, progress: TrainingSummary,
        identity: [(key: String, value: String)], machine: String
    ) throws {
        let state: JSON = [
            "version": .int(version), "progress": progress.json, "machine": .string(machine),
            "identity": .object(JSONObject(identity.map { ($0.key, .string($0.value)) })),
        ]
        try FileSystem.writeDirectoryAtomically(to: directory) { temporary in
            try Safetensors.write(
                parameters.map { (name: $0.path, tensor: $0.value) }, to: "\(temporary)/\(parameterFile)")
            try Safetensors.write(optimizer.state, to: "\(temporary)/\(optimizerFile)")
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
            let identity = state["identity"]?.object, let machine = state["machine"]?.string
        else {
            throw MoruError(
                .checkpointMalformed, "\(path) is no state of a run that this version can go on with",
                remedy: "go on with the version that wrote it, or overwrite the run")
        }
        self.progress = progress
        self.identity = identity.members.map { ($0.key, $0.value.string ?? "") }
        self.machine = machine
        parameters = try SafetensorsFile(path: "\(directory)/\(Self.parameterFile)")
        optimizer = try SafetensorsFile(path: "\(directory)/\(Self.optimizerFile)")
    }

    /// Puts parameters and optimizer where they were.
    ///
    /// - Throws: ``MoruError/Code/checkpointMalformed`` when a tensor is missing or does not fit; the parameters are
    ///   then as they were.
    func restore(_ parameters: [Parameter], _ adamW: inout AdamW) throws(MoruError) {
        var values: [Tensor] = []
        for parameter in parameters {
            values.append(try Self.tensor(parameter.path, like: parameter.value, in: self.parameters))
        }
        var moments: [String: Tensor] = [:]
        for (name, tensor) in adamW.state { moments[name] = try Self.tensor(name, like: tensor, in: optimizer) }
        for (parameter, value) in zip(parameters, values) { parameter.value = value }
        adamW.restore(step: progress.steps) { moments[$0] ?? .zeros([]) }
    }

    private static func tensor(
        _ name: String, like wanted: Tensor, in file: SafetensorsFile
    ) throws(MoruError) -> Tensor {
        let tensor = try file.tensor(name)
        guard tensor.shape == wanted.shape, tensor.dtype == .f32, tensor.isFinite else {
            throw MoruError(
                .checkpointMalformed,
                "\(file.path): \(name) is \(tensor.dtype)\(tensor.shape) or not finite, "
                    + "it must be f32\(wanted.shape)", remedy: "remove this checkpoint to go on from an older one")
        }
        // a copy, for the file may be pruned while the run goes on
        return tensor.copied()
    }
}
