import MoruTensor

/// AdamW with moments in 8 bits, each block of 256 with a scale of its own (Dettmers et al., 2021: 8-bit optimizers via
/// block-wise quantization): a quarter of its memory. Vectors and small tensors keep theirs in f32.
public struct AdamW8Bit: Optimizer {
    /// Parameters of fewer elements keep their moments in f32.
    public static let leastCount = 4096

    /// The settings, which are AdamW's.
    public let configuration: AdamW.Configuration
    /// The parameters, how far they have come, and what is remembered of them.
    public var progress: OptimizerProgress

    /// An optimizer that has taken no step; see ``AdamW/init(_:_:treatments:)``.
    public init(
        _ parameters: [Parameter], _ configuration: AdamW.Configuration = AdamW.Configuration(),
        treatments: [ParameterTreatment]? = nil
    ) {
        self.configuration = configuration
        progress = OptimizerProgress(parameters, treatments)
        forget()
    }

    /// Both moments.
    public func memory(of shape: [Int], isTable: Bool) -> [OptimizerMemory] {
        guard isRounded(shape) else { return configuration.memory(of: shape) }
        let blocks = Tensor.momentBlocks(shape.reduce(1, *))
        return [
            OptimizerMemory("first_moment_8bit", blocks, .i32), OptimizerMemory("second_moment_8bit", blocks, .i32),
        ]
    }

    private func isRounded(_ shape: [Int]) -> Bool { shape.count > 1 && shape.reduce(1, *) >= Self.leastCount }

    /// Moves the value of one parameter.
    public func apply(_ step: OptimizerStep, to value: inout Tensor, gradient: Tensor, memory: inout [Tensor]) {
        guard isRounded(value.shape) else {
            return configuration.apply(step, to: &value, gradient: gradient, memory: &memory)
        }
        memory.withUnsafeMutableBufferPointer {
            value.step8Bit(configuration.numbers(step), gradient: gradient, first: &$0[0], second: &$0[1])
        }
    }
}
