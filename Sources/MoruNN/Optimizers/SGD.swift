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
    /// The parameters that a step moves.
    public let parameters: [Parameter]
    /// Steps taken so far.
    public private(set) var step = 0
    private let treatments: [ParameterTreatment]
    private var moments: [Tensor?]

    /// An optimizer that has taken no step; see ``AdamW/init(_:_:treatments:)``.
    public init(
        _ parameters: [Parameter], _ configuration: Configuration = Configuration(),
        treatments: [ParameterTreatment]? = nil
    ) {
        self.parameters = parameters
        self.configuration = configuration
        self.treatments = treatments ?? ParameterTreatment.usual(parameters)
        moments = parameters.map { configuration.momentum > 0 ? .zeros($0.value.shape) : nil }
    }

    /// Moves every parameter against its gradient.
    public mutating func update(_ gradients: [Tensor], learningRate: Float, gradientScale: Float) {
        requireOneEach(gradients)
        step += 1
        for (index, parameter) in parameters.enumerated() {
            let treatment = treatments[index]
            let numbers = SGDStep(
                learningRate: learningRate * treatment.rateFactor, momentum: configuration.momentum,
                isNesterov: configuration.isNesterov, weightDecay: treatment.decays ? configuration.weightDecay : 0,
                gradientScale: gradientScale)
            parameter.update { $0.step(numbers, gradient: gradients[index], moment: &moments[index]) }
        }
    }

    /// The momentum of each parameter, where there is one.
    public var state: [(name: String, tensor: Tensor)] {
        zip(parameters, moments).compactMap { parameter, moment in
            moment.map { ("\(parameter.path).momentum", $0) }
        }
    }

    /// Takes up a saved state.
    public mutating func restore(step: Int, _ tensor: (String) -> Tensor) {
        self.step = step
        guard configuration.momentum > 0 else { return }
        moments = parameters.map { tensor("\($0.path).momentum") }
    }
}
