import MoruTensor

/// Gradient descent with momentum (Polyak, 1964; Nesterov, 1983). Weight decay is part of the gradient.
public struct SGD: Optimizer {
    /// The settings.
    public struct Configuration: Sendable, Hashable {
        /// Decay of the momentum; 0 for none, which then takes no memory.
        public var momentum: Float
        /// Whether the momentum looks ahead.
        public var isNesterov: Bool
        /// What each parameter that decays adds of itself to its gradient.
        public var weightDecay: Float

        /// Makes a configuration.
        public init(momentum: Float = 0.9, isNesterov: Bool = false, weightDecay: Float = 0) {
            self.momentum = momentum
            self.isNesterov = isNesterov
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

    /// The momentum, where there is one.
    public func memory(of shape: [Int], isTable: Bool) -> [OptimizerMemory] {
        configuration.momentum > 0 ? [OptimizerMemory("momentum", shape)] : []
    }

    /// Moves the value of one parameter.
    public func apply(_ step: OptimizerStep, to value: inout Tensor, gradient: Tensor, memory: inout [Tensor]) {
        let numbers = SGDStep(
            learningRate: step.learningRate, momentum: configuration.momentum, isNesterov: configuration.isNesterov,
            weightDecay: step.weightDecay(configuration.weightDecay), gradientScale: step.gradientScale)
        var moment = memory.popLast()
        value.step(numbers, gradient: gradient, moment: &moment)
        memory = moment.map { [$0] } ?? []
    }
}
