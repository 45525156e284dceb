import MoruTensor

/// Lion (Chen et al., 2023): every element moves by the learning rate, in the direction of a momentum's sign.
///
/// It has half of AdamW's state, and wants about a tenth of its learning rate with ten times its weight decay.
public struct Lion: Optimizer {
    /// The settings, in the paper's names.
    public struct Configuration: Sendable, Hashable {
        /// The momentum's share in the direction of a step.
        public var beta1: Float
        /// Decay of the momentum.
        public var beta2: Float
        /// The share of each parameter that decays which a step of rate 1 would take away.
        public var weightDecay: Float

        /// Makes a configuration.
        public init(beta1: Float = 0.9, beta2: Float = 0.99, weightDecay: Float = 0) {
            self.beta1 = beta1
            self.beta2 = beta2
            self.weightDecay = weightDecay
        }
    }

    /// The settings.
    public let configuration: Configuration
    /// The parameters, how far they have come, and what is remembered of them.
    public var progress: OptimizerProgress

    /// An optimizer that has taken no step; see ``AdamW/init(_:_:treatments:)``.
    public init(
        _ parameters: [Parameter], _ configuration: Configuration = Configuration(),
        treatments: [ParameterTreatment]? = nil
    ) {
        self.configuration = configuration
        progress = OptimizerProgress(parameters, treatments)
        forget()
    }

    /// The momentum.
    public func memory(of shape: [Int], isTable: Bool) -> [OptimizerMemory] { [OptimizerMemory("momentum", shape)] }

    /// Moves the value of one parameter against the sign of its momentum.
    public func apply(_ step: OptimizerStep, to value: inout Tensor, gradient: Tensor, memory: inout [Tensor]) {
        let numbers = LionStep(
            learningRate: step.learningRate, beta1: configuration.beta1, beta2: configuration.beta2,
            weightDecay: step.weightDecay(configuration.weightDecay), gradientScale: step.gradientScale)
        value.step(numbers, gradient: gradient, moment: &memory[0])
    }
}
