import Foundation
import MoruTensor

/// Adam with decoupled weight decay (Loshchilov and Hutter, 2019).
public struct AdamW: Sendable {
    /// The settings, in the paper's names.
    public struct Configuration: Sendable, Hashable {
        /// Decay of the first moment.
        public var beta1: Float
        /// Decay of the second moment.
        public var beta2: Float
        /// What is added to the root of the second moment.
        public var epsilon: Float
        /// The share of each matrix that a step of rate 1 would take away. Vectors (norms, biases) do not decay.
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
    private var moments: [(first: Tensor, second: Tensor)]

    /// An optimizer that has taken no step.
    public init(_ parameters: [Parameter], _ configuration: Configuration = Configuration()) {
        self.parameters = parameters
        self.configuration = configuration
        moments = parameters.map { (.zeros($0.value.shape), .zeros($0.value.shape)) }
    }

    /// Moves every parameter against its gradient.
    ///
    /// - Parameters:
    ///   - gradients: One for each parameter, of its shape.
    ///   - learningRate: The rate of this step.
    ///   - gradientScale: What the gradients are multiplied by first; see ``clippingScale(_:maximumNorm:)``.
    public mutating func update(_ gradients: [Tensor], learningRate: Float, gradientScale: Float = 1) {
        precondition(
            gradients.count == parameters.count, "\(gradients.count) gradients, \(parameters.count) parameters")
        step += 1
        for (index, parameter) in parameters.enumerated() {
            let decays = parameter.value.rank > 1
            var (first, second) = moments[index]
            parameter.value = adamWStep(
                parameter.value, gradient: gradients[index], first: &first, second: &second,
                AdamWStep(
                    learningRate: learningRate, beta1: configuration.beta1, beta2: configuration.beta2,
                    epsilon: configuration.epsilon, weightDecay: decays ? configuration.weightDecay : 0, step: step,
                    gradientScale: gradientScale))
            moments[index] = (first, second)
        }
    }

    /// The state that a resumed run needs, by name: the moments of each parameter.
    public var state: [(name: String, tensor: Tensor)] {
        zip(parameters, moments).flatMap { parameter, moments in
            [("\(parameter.path).first_moment", moments.first), ("\(parameter.path).second_moment", moments.second)]
        }
    }

    /// Takes up a saved state.
    ///
    /// - Parameters:
    ///   - step: Steps taken when it was saved.
    ///   - tensor: Looks a state tensor up by the names that ``state`` gives.
    ///     Each must be f32 and of its parameter's shape, which the next ``update(_:learningRate:gradientScale:)``
    ///     insists on.
    /// - Throws: What `tensor` throws.
    public mutating func restore(step: Int, _ tensor: (String) throws -> Tensor) rethrows {
        self.step = step
        moments = try parameters.map {
            (try tensor("\($0.path).first_moment"), try tensor("\($0.path).second_moment"))
        }
    }
}

/// The Euclidean norm of all gradients together.
public func globalNorm(_ gradients: [Tensor]) -> Double {
    gradients.reduce(0) { $0 + $1.sumOfSquares() }.squareRoot()
}

/// What gradients of a given norm are multiplied by so that it does not exceed `maximumNorm` (Pascanu et al., 2013).
public func clippingScale(_ norm: Double, maximumNorm: Float) -> Float {
    maximumNorm > 0 && norm > Double(maximumNorm) ? Float(Double(maximumNorm) / (norm + 1e-6)) : 1
}
