import MoruTensor

/// Adam with decoupled weight decay (Loshchilov and Hutter, 2019).
public struct AdamW: Optimizer {
    /// The settings, in the paper's names.
    public struct Configuration: Sendable, Hashable {
        /// Decay of the first moment.
        public var beta1: Float
        /// Decay of the second moment.
        public var beta2: Float
        /// What is added to the root of the second moment.
        public var epsilon: Float
        /// The share of each parameter that decays which a step of rate 1 would take away.
        public var weightDecay: Float

        /// Makes a configuration.
        public init(beta1: Float = 0.9, beta2: Float = 0.999, epsilon: Float = 1e-8, weightDecay: Float = 0) {
            self.beta1 = beta1
            self.beta2 = beta2
            self.epsilon = epsilon
            self.weightDecay = weightDecay
        }
    }

    /// The settings.
    public let configuration: Configuration
    /// The parameters, how far they have come, and what is remembered of them.
    public var progress: OptimizerProgress

    /// An optimizer that has taken no step.
    ///
    /// - Parameter treatments: One for each parameter; nil for the usual ones, of which vectors do not decay.
    public init(
        _ parameters: [Parameter], _ configuration: Configuration = Configuration(),
        treatments: [ParameterTreatment]? = nil
    ) {
        self.configuration = configuration
        progress = OptimizerProgress(parameters, treatments)
        forget()
    }

    /// Both moments.
    public func memory(of shape: [Int], isTable: Bool) -> [OptimizerMemory] { configuration.memory(of: shape) }

    /// Moves the value of one parameter.
    public func apply(_ step: OptimizerStep, to value: inout Tensor, gradient: Tensor, memory: inout [Tensor]) {
        configuration.apply(step, to: &value, gradient: gradient, memory: &memory)
    }
}

extension AdamW.Configuration {
    func memory(of shape: [Int]) -> [OptimizerMemory] {
        [OptimizerMemory("first_moment", shape), OptimizerMemory("second_moment", shape)]
    }

    /// The numbers of a step for one parameter.
    func numbers(_ step: OptimizerStep) -> AdamWStep {
        AdamWStep(
            learningRate: step.learningRate, beta1: beta1, beta2: beta2, epsilon: epsilon,
            weightDecay: step.weightDecay(weightDecay), step: step.number, gradientScale: step.gradientScale)
    }

    func apply(_ step: OptimizerStep, to value: inout Tensor, gradient: Tensor, memory: inout [Tensor]) {
        memory.withUnsafeMutableBufferPointer {
            value.step(numbers(step), gradient: gradient, first: &$0[0], second: &$0[1])
        }
    }
}
