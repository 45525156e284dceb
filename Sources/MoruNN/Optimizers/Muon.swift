import MoruTensor

/// Muon (Jordan et al., 2024): a matrix moves by its momentum, orthogonalised, so that every direction of it counts
/// alike. Vectors and tables of vectors (embeddings, output heads) move by AdamW.
///
/// A matrix's step is scaled to the root mean square that AdamW's has (Liu et al., 2025), so that one learning rate
/// fits both.
public struct Muon: Optimizer {
    /// The settings.
    public struct Configuration: Sendable, Hashable {
        /// Decay of the momentum, which looks ahead (Nesterov).
        public var momentum: Float
        /// Iterations of the orthogonalisation.
        public var iterations: Int
        /// The share of each matrix that a step of rate 1 would take away.
        public var weightDecay: Float
        /// How the rest moves.
        public var rest: AdamW.Configuration

        /// Makes a configuration.
        public init(
            momentum: Float = 0.95, iterations: Int = 5, weightDecay: Float = 0,
            rest: AdamW.Configuration = AdamW.Configuration(beta2: 0.95)
        ) {
            self.momentum = momentum
            self.iterations = iterations
            self.weightDecay = weightDecay
            self.rest = rest
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

    /// The momentum of a matrix, and the moments of the rest.
    public func memory(of shape: [Int], isTable: Bool) -> [OptimizerMemory] {
        isOrthogonalized(shape, isTable) ? [OptimizerMemory("momentum", shape)] : configuration.rest.memory(of: shape)
    }

    private func isOrthogonalized(_ shape: [Int], _ isTable: Bool) -> Bool { shape.count == 2 && !isTable }

    /// Moves the value of one parameter.
    public func apply(_ step: OptimizerStep, to value: inout Tensor, gradient: Tensor, memory: inout [Tensor]) {
        guard isOrthogonalized(value.shape, step.treatment.isTable) else {
            return configuration.rest.apply(step, to: &value, gradient: gradient, memory: &memory)
        }
        memory[0].approach(gradient, by: 1 - configuration.momentum, scale: step.gradientScale)
        var direction = gradient * step.gradientScale
        direction.approach(memory[0], by: configuration.momentum)
        direction = direction.orthogonalized(steps: configuration.iterations)
        let size = 0.2 * Float(max(value.shape[0], value.shape[1])).squareRoot()
        let decay = step.weightDecay(configuration.weightDecay)
        value.move(along: direction, by: -step.learningRate * size, keeping: 1 - step.learningRate * decay)
    }
}
