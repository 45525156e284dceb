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

    /// The second moments of a matrix's rows, and of its columns or a vector's elements.
    public func memory(of shape: [Int], isTable: Bool) -> [OptimizerMemory] {
        let columns = OptimizerMemory("columns", [shape.last ?? 1])
        guard shape.count > 1 else { return [columns] }
        return [OptimizerMemory("rows", [shape.reduce(1, *) / max(1, columns.shape[0])]), columns]
    }

    /// Moves the value of one parameter.
    public func apply(_ step: OptimizerStep, to value: inout Tensor, gradient: Tensor, memory: inout [Tensor]) {
        let number = Double(step.number)
        let numbers = AdafactorStep(
            share: Float(pow(number, Double(configuration.decayExponent))),
            rate: min(step.learningRate, Float(1 / number.squareRoot())),
            decay: step.learningRate * step.weightDecay(configuration.weightDecay), epsilon1: configuration.epsilon1,
            epsilon2: configuration.epsilon2, clipThreshold: configuration.clipThreshold,
            gradientScale: step.gradientScale)
        guard value.rank > 1 else {
            var rows = Tensor.zeros([1])
            return value.step(numbers, gradient: gradient, rows: &rows, columns: &memory[0])
        }
        memory.withUnsafeMutableBufferPointer {
            value.step(numbers, gradient: gradient, rows: &$0[0], columns: &$0[1])
        }
    }
}
