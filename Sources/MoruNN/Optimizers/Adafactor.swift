import Foundation
import MoruTensor

/// Adafactor (Shazeer and Stern, 2018): the second moments of a matrix are kept by row and by column alone, so that the
/// state is next to nothing. There is no first moment.
///
/// A step is relative to the size of the parameter: the learning rate says by which share of its root mean square it
/// moves at most, 1e-2 is usual.
public struct Adafactor: Optimizer {
    /// The settings, in the paper's names.
    public struct Configuration: Sendable, Hashable {
        /// The second moments of step t keep `1 - t^exponent` of what they were.
        public var decayExponent: Float
        /// The least root of a second moment.
        public var epsilon1: Float
        /// The least root mean square of a parameter.
        public var epsilon2: Float
        /// The root mean square that an update is scaled down to.
        public var clipThreshold: Float
        /// The share of each parameter that decays which a step of rate 1 would take away.
        public var weightDecay: Float

        /// Makes a configuration.
        public init(
            decayExponent: Float = -0.8, epsilon1: Float = .ulpOfOne, epsilon2: Float = 1e-3,
            clipThreshold: Float = 1, weightDecay: Float = 0
        ) {
            self.decayExponent = decayExponent
            self.epsilon1 = epsilon1
            self.epsilon2 = epsilon2
            self.clipThreshold = clipThreshold
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
    private var rows: [Tensor], columns: [Tensor]

    /// An optimizer that has taken no step; see ``AdamW/init(_:_:treatments:)``.
    public init(
        _ parameters: [Parameter], _ configuration: Configuration = Configuration(),
        treatments: [ParameterTreatment]? = nil
    ) {
        self.parameters = parameters
        self.configuration = configuration
        self.treatments = treatments ?? ParameterTreatment.usual(parameters)
        rows = parameters.map { parameter in
            let value = parameter.value
            return .zeros([value.rank > 1 ? value.count / max(1, value.shape[value.rank - 1]) : 1])
        }
        columns = parameters.map { .zeros([$0.value.shape.last ?? 1]) }
    }

    /// Moves every parameter against its gradient.
    public mutating func update(_ gradients: [Tensor], learningRate: Float, gradientScale: Float) {
        requireOneEach(gradients)
        step += 1
        for (index, parameter) in parameters.enumerated() {
            let treatment = treatments[index]
            let rate = learningRate * treatment.rateFactor
            let numbers = AdafactorStep(
                share: Float(pow(Double(step), Double(configuration.decayExponent))),
                rate: min(rate, Float(1 / Double(step).squareRoot())),
                decay: treatment.decays ? rate * configuration.weightDecay : 0, epsilon1: configuration.epsilon1,
                epsilon2: configuration.epsilon2, clipThreshold: configuration.clipThreshold,
                gradientScale: gradientScale)
            parameter.update {
                $0.step(numbers, gradient: gradients[index], rows: &rows[index], columns: &columns[index])
            }
        }
    }

    /// The second moments of each parameter's columns, and of a matrix's rows.
    public var state: [(name: String, tensor: Tensor)] {
        parameters.indices.flatMap { index -> [(name: String, tensor: Tensor)] in
            let parameter = parameters[index]
            let vector = (name: "\(parameter.path).columns", tensor: columns[index])
            return parameter.value.rank > 1 ? [("\(parameter.path).rows", rows[index]), vector] : [vector]
        }
    }

    /// Takes up a saved state.
    public mutating func restore(step: Int, _ tensor: (String) -> Tensor) {
        self.step = step
        for (index, parameter) in parameters.enumerated() {
            columns[index] = tensor("\(parameter.path).columns")
            if parameter.value.rank > 1 { rows[index] = tensor("\(parameter.path).rows") }
        }
    }
}
