import Foundation
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
    /// The parameters that a step moves.
    public let parameters: [Parameter]
    /// Steps taken so far.
    public private(set) var step = 0
    private let treatments: [ParameterTreatment]
    private var first: [Tensor], second: [Tensor]

    /// An optimizer that has taken no step.
    ///
    /// - Parameter treatments: One for each parameter; nil for the usual ones, of which vectors do not decay.
    public init(
        _ parameters: [Parameter], _ configuration: Configuration = Configuration(),
        treatments: [ParameterTreatment]? = nil
    ) {
        self.parameters = parameters
        self.configuration = configuration
        self.treatments = treatments ?? ParameterTreatment.usual(parameters)
        first = parameters.map { .zeros($0.value.shape) }
        second = parameters.map { .zeros($0.value.shape) }
    }

    /// Moves every parameter against its gradient.
    public mutating func update(_ gradients: [Tensor], learningRate: Float, gradientScale: Float) {
        requireOneEach(gradients)
        step += 1
        for (index, parameter) in parameters.enumerated() {
            let treatment = treatments[index]
            let numbers = AdamWStep(
                learningRate: learningRate * treatment.rateFactor, beta1: configuration.beta1,
                beta2: configuration.beta2, epsilon: configuration.epsilon,
                weightDecay: treatment.decays ? configuration.weightDecay : 0, step: step,
                gradientScale: gradientScale)
            parameter.update {
                $0.step(numbers, gradient: gradients[index], first: &first[index], second: &second[index])
            }
        }
    }

    /// The state that a resumed run needs, by name: the moments of each parameter.
    public var state: [(name: String, tensor: Tensor)] {
        parameters.indices.flatMap { index in
            [
                ("\(parameters[index].path).first_moment", first[index]),
                ("\(parameters[index].path).second_moment", second[index]),
            ]
        }
    }

    /// Takes up a saved state.
    public mutating func restore(step: Int, _ tensor: (String) -> Tensor) {
        self.step = step
        first = parameters.map { tensor("\($0.path).first_moment") }
        second = parameters.map { tensor("\($0.path).second_moment") }
    }
}
