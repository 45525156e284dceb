import MoruTensor

/// The gradients of one optimizer step, summed over its batches as they arrive, and handed over one by one.
struct StepGradients {
    private var sums: [Tensor?]
    /// The sum of squares of each, once it has been computed.
    private var squares: [Double?]

    /// For so many parameters.
    init(_ count: Int) {
        sums = Array(repeating: nil, count: count)
        squares = Array(repeating: nil, count: count)
    }

    /// Adds what a batch contributes to the gradient of a parameter.
    mutating func add(_ part: Tensor, at index: Int) {
        if sums[index] == nil { sums[index] = part } else { sums[index]?.move(along: part, by: 1) }
        squares[index] = nil
    }

    /// The gradient of a parameter, of which only its part in the norm stays here; nil if it is not finite.
    mutating func take(_ index: Int) -> Tensor? {
        let isFinite = square(index).isFinite
        let gradient = sums[index]
        sums[index] = nil
        return isFinite ? gradient : nil
    }

    /// The Euclidean norm of all gradients together: of those taken, and those still there.
    ///
    /// In the order of parameters, so that it does not depend on when a gradient was taken.
    mutating func norm() -> Double {
        var sum = 0.0
        for index in sums.indices { sum += square(index) }
        return sum.squareRoot()
    }

    private mutating func square(_ index: Int) -> Double {
        if let known = squares[index] { return known }
        let square = sums[index]?.sumOfSquares() ?? 0
        squares[index] = square
        return square
    }
}
