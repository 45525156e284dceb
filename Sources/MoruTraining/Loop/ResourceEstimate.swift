import MoruBase

/// What a run will need, told before it starts.
public struct ResourceEstimate: Sendable, Hashable {
    /// Bytes that tensors hold already: the model's weights that are not mapped from a file, and what moves.
    public var weightBytes: Int
    /// Bytes of the gradients, of which there are two sets while batches are summed up.
    public var gradientBytes: Int
    /// Bytes that the optimizer remembers, and the weights' moving average.
    public var optimizerBytes: Int
    /// Bytes of the largest batch's activations, with the gradients of them that are alive at once.
    public var activationBytes: Int
    /// Bytes of quantised weights that stay unpacked, or in the layout that products read, during the run.
    public var unpackedBytes = 0
    /// How long a step takes, on average.
    public var secondsPerStep: Double
    /// How long the whole run takes, with its measurements and checkpoints.
    public var seconds: Double
    /// Bytes that the run leaves on the disk.
    public var diskBytes: Int
    /// Bytes that the run takes on the disk at most, while a checkpoint or a result replaces an older one.
    public var peakDiskBytes: Int
    /// What the machine has left.
    public var room: MachineRoom

    /// The most bytes that tensors will hold at once.
    public var peakMemoryBytes: Int {
        weightBytes + gradientBytes + optimizerBytes + activationBytes + unpackedBytes
    }
    /// Bytes that will be asked for beyond what is held already.
    var newMemoryBytes: Int { peakMemoryBytes - weightBytes }

    /// The estimate as an object.
    public var json: JSON {
        [
            "peak_memory_bytes": .int(peakMemoryBytes), "weight_bytes": .int(weightBytes),
            "gradient_bytes": .int(gradientBytes), "optimizer_bytes": .int(optimizerBytes),
            "activation_bytes": .int(activationBytes), "unpacked_bytes": .int(unpackedBytes),
            "seconds_per_step": .double(secondsPerStep),
            "seconds": .double(seconds), "disk_bytes": .int(diskBytes),
            "peak_disk_bytes": .int(peakDiskBytes),
            "available_memory_bytes": room.memoryBytes.map { .int($0) } ?? .null,
            "available_disk_bytes": room.diskBytes.map { .int($0) } ?? .null,
        ]
    }
}

extension MoruError.Code {
    /// A run that needs more memory than there is.
    public static let runMemory = MoruError.Code("run.memory", .limit)
    /// A run that needs more disk than there is.
    public static let runDisk = MoruError.Code("run.disk", .limit)
}

/// A straight line through measurements of something that grows with the size of a batch.
struct BatchCost: Sendable {
    /// What a batch costs whatever its size, and what each unit of input adds.
    private(set) var fixed: Double, perInput: Double

    /// The line through a small and a large batch.
    init(small: (inputs: Int, cost: Double), large: (inputs: Int, cost: Double)) {
        guard large.inputs > small.inputs, large.cost > small.cost else {
            (fixed, perInput) = (0, large.cost / Double(max(1, large.inputs)))
            return
        }
        perInput = (large.cost - small.cost) / Double(large.inputs - small.inputs)
        fixed = max(0, small.cost - perInput * Double(small.inputs))
        // Where the small one was dearer than the line allows, the line goes through the large one
        if fixed == 0 { perInput = large.cost / Double(large.inputs) }
    }

    /// What a batch of some inputs costs.
    func of(_ inputs: Int) -> Double { fixed + perInput * Double(inputs) }

    /// The most inputs that cost no more than this.
    func inputs(within cost: Double) -> Int {
        perInput > 0 ? Int(max(0, min(1e15, (cost - fixed) / perInput))) : Int(1e15)
    }
}
