import MoruTensor

/// The gradients of one optimizer step, summed over its batches as they arrive, and handed over one by one.
struct StepGradients {
    private var sums: [Tensor?]
    private var squares: [Double]

    /// For so many parameters.
    init(_ count: Int) {
        sums = Array(repeating: nil, count: count)
        squares = Array(repeating: 0, count: count)
    }

    /// Adds what a batch contributes to the gradient of a parameter.
    mutating func add(_ part: Tensor, at index: Int) {
        if sums[index] == nil { sums[index] = part } else { sums[index]?.move(along: part, by: 1) }
    }

    /// The gradient of a parameter, which is forgotten here but for its part in the norm; nil if it is not finite.
    mutating func take(_ index: Int) -> Tensor? {
        guard let gradient = sums[index] else { return nil }
        sums[index] = nil
        squares[index] = gradient.sumOfSquares()
        return squares[index].isFinite ? gradient : nil
    }

    /// The Euclidean norm of all gradients together: of those taken, and those still there.
    ///
    /// In the order of parameters, so that it does not depend on when a gradient was taken.
    var norm: Double {
        zip(sums, squares).reduce(0) { $0 + ($1.0?.sumOfSquares() ?? $1.1) }.squareRoot()
    }
}
