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
    /// The parameters that a step moves.
    public let parameters: [Parameter]
    /// Steps taken so far.
    public var step: Int { rest.step }
    private let treatments: [ParameterTreatment]
    /// The numbers of the parameters that are orthogonalised, and of the others.
    private let matrices: [Int], others: [Int]
    private var moments: [Tensor]
    private var rest: AdamW

    /// An optimizer that has taken no step; see ``AdamW/init(_:_:treatments:)``.
    public init(
        _ parameters: [Parameter], _ configuration: Configuration = Configuration(),
        treatments: [ParameterTreatment]? = nil
    ) {
        let treatments = treatments ?? ParameterTreatment.usual(parameters)
        let isMatrix = zip(parameters, treatments).map { $0.value.rank == 2 && !$1.isTable }
        let others = parameters.indices.filter { !isMatrix[$0] }
        self.parameters = parameters
        self.configuration = configuration
        self.treatments = treatments
        self.others = others
        matrices = parameters.indices.filter { isMatrix[$0] }
        moments = matrices.map { .zeros(parameters[$0].value.shape) }
        rest = AdamW(
            others.map { parameters[$0] }, configuration.rest, treatments: others.map { treatments[$0] })
    }

    /// Moves every parameter.
    public mutating func update(_ gradients: [Tensor], learningRate: Float, gradientScale: Float) {
        requireOneEach(gradients)
        rest.update(others.map { gradients[$0] }, learningRate: learningRate, gradientScale: gradientScale)
        for (position, index) in matrices.enumerated() {
            let (parameter, gradient) = (parameters[index], gradients[index])
            moments[position].approach(gradient, by: 1 - configuration.momentum, scale: gradientScale)
            var direction = gradient * gradientScale
            direction.approach(moments[position], by: configuration.momentum)
            direction = direction.orthogonalized(steps: configuration.iterations)
            let rate = learningRate * treatments[index].rateFactor
            let size = 0.2 * Float(max(gradient.shape[0], gradient.shape[1])).squareRoot()
            let decay = treatments[index].decays ? configuration.weightDecay : 0
            parameter.update { $0.move(along: direction, by: -rate * size, keeping: 1 - rate * decay) }
        }
    }

    /// The momentum of each matrix, and the moments of the rest.
    public var state: [(name: String, tensor: Tensor)] {
        zip(matrices, moments).map { ("\(parameters[$0].path).momentum", $1) } + rest.state
    }

    /// Takes up a saved state.
    public mutating func restore(step: Int, _ tensor: (String) -> Tensor) {
        rest.restore(step: step, tensor)
        moments = matrices.map { tensor("\(parameters[$0].path).momentum") }
    }
}
