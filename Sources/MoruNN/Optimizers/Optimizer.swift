import MoruTensor

/// Moves parameters against their gradients, each on its own.
///
/// An optimizer keeps what it remembers of earlier steps in tensors that have names, so that a checkpoint can hold them.
public protocol Optimizer: Sendable {
    /// The parameters, how far they have come, and what is remembered of them.
    var progress: OptimizerProgress { get set }
    /// What is remembered of a parameter.
    ///
    /// - Parameters:
    ///   - shape: The shape of the parameter.
    ///   - isTable: Whether it is a table of vectors; see ``ParameterTreatment/isTable``.
    func memory(of shape: [Int], isTable: Bool) -> [OptimizerMemory]
    /// Moves the value of one parameter.
    ///
    /// - Parameters:
    ///   - step: What the step does to this parameter.
    ///   - value: The parameter's value.
    ///   - gradient: Of the value's shape.
    ///   - memory: As ``memory(of:isTable:)`` describes it.
    func apply(_ step: OptimizerStep, to value: inout Tensor, gradient: Tensor, memory: inout [Tensor])
}

/// A tensor that an optimizer remembers of a parameter; zeros before the first step.
public struct OptimizerMemory: Sendable, Hashable {
    /// The tensor's name, after the parameter's path and a dot.
    public var name: String
    /// Its shape.
    public var shape: [Int]
    /// Its format.
    public var dtype = DType.f32

    /// Makes a description.
    public init(_ name: String, _ shape: [Int], _ dtype: DType = .f32) {
        (self.name, self.shape, self.dtype) = (name, shape, dtype)
    }

    var byteCount: Int { dtype.byteCount(of: shape.reduce(1, *)) ?? 0 }
}

/// What one step of an optimizer does to one parameter.
public struct OptimizerStep: Sendable, Hashable {
    /// The step's number, counted from 1.
    public var number: Int
    /// The rate for this parameter.
    public var learningRate: Float
    /// What the gradient is multiplied by first.
    public var gradientScale: Float
    /// How the parameter is treated otherwise.
    public var treatment: ParameterTreatment

    /// A weight decay, where it applies.
    func weightDecay(_ decay: Float) -> Float { treatment.decays ? decay : 0 }
}

/// The parameters of an optimizer, how far they have come, and what it remembers of them.
public struct OptimizerProgress: Sendable {
    /// The parameters that a step moves.
    public let parameters: [Parameter]
    let treatments: [ParameterTreatment]
    fileprivate(set) var step = 0
    fileprivate var learningRate: Float = 0, gradientScale: Float = 1
    /// What is remembered of each parameter.
    fileprivate var memories: [[Tensor]] = []

    init(_ parameters: [Parameter], _ treatments: [ParameterTreatment]?) {
        self.parameters = parameters
        self.treatments = treatments ?? ParameterTreatment.usual(parameters)
    }
}

extension Optimizer {
    /// The parameters that a step moves.
    public var parameters: [Parameter] { progress.parameters }
    /// Steps taken so far.
    public var step: Int { progress.step }

    /// Remembers nothing.
    mutating func forget() {
        progress.memories = memories.map { $0.map { Tensor(zeroed: $0.shape, $0.dtype) } }
    }

    private var memories: [[OptimizerMemory]] {
        zip(parameters, progress.treatments).map { memory(of: $0.value.shape, isTable: $1.isTable) }
    }

    /// Begins a step, in which ``move(_:against:)`` is called once for each parameter, in any order.
    ///
    /// - Parameters:
    ///   - learningRate: The rate of this step.
    ///   - gradientScale: What the gradients are multiplied by first; see ``clippingScale(_:maximumNorm:)``.
    public mutating func beginStep(learningRate: Float, gradientScale: Float = 1) {
        progress.step += 1
        (progress.learningRate, progress.gradientScale) = (learningRate, gradientScale)
    }

    /// Moves the parameter with a number.
    ///
    /// - Parameter gradient: Of the parameter's shape.
    public mutating func move(_ index: Int, against gradient: Tensor) {
        let treatment = progress.treatments[index]
        let step = OptimizerStep(
            number: progress.step, learningRate: progress.learningRate * treatment.rateFactor,
            gradientScale: progress.gradientScale, treatment: treatment)
        var memory: [Tensor] = []
        // Held by nobody else, so that it is written in place
        swap(&memory, &progress.memories[index])
        parameters[index].update { apply(step, to: &$0, gradient: gradient, memory: &memory) }
        swap(&memory, &progress.memories[index])
    }

    /// Takes a whole step.
    ///
    /// - Parameters:
    ///   - gradients: One for each parameter, of its shape.
    ///   - learningRate: The rate of this step.
    ///   - gradientScale: What the gradients are multiplied by first; see ``clippingScale(_:maximumNorm:)``.
    public mutating func update(_ gradients: [Tensor], learningRate: Float, gradientScale: Float = 1) {
        precondition(
            gradients.count == parameters.count, "\(gradients.count) gradients, \(parameters.count) parameters")
        beginStep(learningRate: learningRate, gradientScale: gradientScale)
        for (index, gradient) in gradients.enumerated() { move(index, against: gradient) }
    }

    /// The state that a resumed run needs, by name.
    public var state: [(name: String, tensor: Tensor)] {
        zip(zip(parameters, memories), progress.memories).flatMap { pair, tensors in
            zip(pair.1, tensors).map { ("\(pair.0.path).\($0.name)", $1) }
        }
    }

    /// Takes up a saved state.
    ///
    /// - Parameters:
    ///   - step: Steps taken when it was saved.
    ///   - tensor: Looks a state tensor up by the names that ``state`` gives; each must be of the shape there.
    public mutating func restore(step: Int, _ tensor: (String) -> Tensor) {
        progress.step = step
        progress.memories = zip(parameters, memories).map { parameter, memory in
            memory.map { tensor("\(parameter.path).\($0.name)") }
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
