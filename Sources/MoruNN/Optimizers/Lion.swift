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
    /// The parameters that a step moves.
    public let parameters: [Parameter]
    /// Steps taken so far.
    public private(set) var step = 0
    private let treatments: [ParameterTreatment]
    private var moments: [Tensor]

    /// An optimizer that has taken no step; see ``AdamW/init(_:_:treatments:)``.
    public init(
        _ parameters: [Parameter], _ configuration: Configuration = Configuration(),
        treatments: [ParameterTreatment]? = nil
    ) {
        self.parameters = parameters
        self.configuration = configuration
        self.treatments = treatments ?? ParameterTreatment.usual(parameters)
        moments = parameters.map { .zeros($0.value.shape) }
    }

    /// Moves every parameter against the sign of its momentum.
    public mutating func update(_ gradients: [Tensor], learningRate: Float, gradientScale: Float) {
        requireOneEach(gradients)
        step += 1
        for (index, parameter) in parameters.enumerated() {
            let treatment = treatments[index]
            let numbers = LionStep(
                learningRate: learningRate * treatment.rateFactor, beta1: configuration.beta1,
                beta2: configuration.beta2, weightDecay: treatment.decays ? configuration.weightDecay : 0,
                gradientScale: gradientScale)
            parameter.update { $0.step(numbers, gradient: gradients[index], moment: &moments[index]) }
        }
    }

    /// The momentum of each parameter.
    public var state: [(name: String, tensor: Tensor)] {
        zip(parameters, moments).map { ("\($0.path).momentum", $1) }
    }

    /// Takes up a saved state.
    public mutating func restore(step: Int, _ tensor: (String) -> Tensor) {
        self.step = step
        moments = parameters.map { tensor("\($0.path).momentum") }
    }
}
