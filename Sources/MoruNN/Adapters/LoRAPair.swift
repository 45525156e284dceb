import MoruTensor
import Synchronization

/// A low-rank update of one layer: `y + scale * (x A^T) B^T`.
///
/// With magnitudes (DoRA) each output is multiplied by its magnitude over the norm of its moved weight,
/// `m / |W + scale * B A|`; as in the paper (section 4.3), no gradient flows through the norm.
public struct LoRAPair: Sendable {
    /// [rank, inputs].
    public let a: Parameter
    /// [outputs, rank].
    public let b: Parameter
    /// [outputs], or nil for plain LoRA.
    public let magnitude: Parameter?
    /// What the update is multiplied by.
    public let scale: Float
    /// The probability with which an input feature is dropped in training.
    public let dropout: Float
    private let derived = DerivedFromPair()

    /// Makes a pair.
    public init(a: Parameter, b: Parameter, magnitude: Parameter? = nil, scale: Float, dropout: Float = 0) {
        self.a = a
        self.b = b
        self.magnitude = magnitude
        self.scale = scale
        self.dropout = dropout
    }

    /// The parameters.
    public var parameters: [Parameter] { [a, b] + (magnitude.map { [$0] } ?? []) }

    /// What PEFT's files call the magnitudes of a layer.
    package static func magnitudeName(_ path: String) -> String { "\(path).lora_magnitude_vector" }

    /// The matrices as products of few rows of a layer's inputs read them.
    ///
    /// Where the rows are rounded to 8 bits and the weight to fewer, rounding the update to bf16 costs nothing that
    /// could be seen, and halves what a step reads.
    func factors(for layer: Linear) -> LowRankFactors {
        let isQuantised = layer.weight.value.dtype.blockElements > 1
        let isRounded = isQuantised && Runtime.shared.precision != .f32
        return derived.factors(a.value, b.value, scale, as: isRounded ? .bf16 : .f32)
    }

    func apply(to x: Tensor, adding product: Tensor, _ layer: Linear, _ context: LayerContext) -> Tensor {
        let isInference = context.dropout == nil && !followsParameters && !x.isTracked && !product.isTracked
        if isInference, magnitude == nil, x.dtype == .f32, product.dtype == .f32,
            Runtime.shared.goAsFewRows(x.shape[0])
        {
            return x.addingUpdate(factors(for: layer), to: product)
        }
        let input = context.dropout.map { $0.apply(x, probability: dropout) } ?? x
        let update = input.linear(a.tensor)
        guard let magnitude else { return update.linear(b.tensor, alpha: scale, adding: product) }
        let factors = magnitude.tensor * derived.norms.inverse(of: layer.weight.value, a.value, b.value, scale)
        guard context.dropout != nil, dropout > 0 else {
            return update.linear(b.tensor, alpha: scale, adding: product).multiplyingRow(factors)
        }
        // What is dropped is left out of the rescaling too, not of the layer's own output, as PEFT has it
        let dropped = input.linear(layer.weight.tensor)
        return update.linear(b.tensor, alpha: scale, adding: dropped).multiplyingRow(factors) + (product - dropped)
    }
}

/// What is computed from a pair's matrices and kept until they move.
private final class DerivedFromPair: Sendable {
    let norms = MovedNorms()
    private let copies = Mutex<(a: Tensor, b: Tensor, dtype: DType, factors: LowRankFactors)?>(nil)

    func factors(_ a: Tensor, _ b: Tensor, _ scale: Float, as dtype: DType) -> LowRankFactors {
        copies.withLock { last in
            // The matrices are held, so that their memory is neither reused nor written in place
            if let last, last.a.isSame(as: a), last.b.isSame(as: b), last.dtype == dtype { return last.factors }
            let factors = LowRankFactors(a: a, b: b, scale: scale, as: dtype)
            last = (a, b, dtype, factors)
            return factors
        }
    }
}

/// The norms of a layer's moved weight, computed anew when the update moves.
private final class MovedNorms: Sendable {
    private struct State {
        /// Of the frozen weight's rows: the one pass over a quantised weight's values.
        var squares: (weight: Tensor, values: Tensor)?
        var last: (a: Tensor, b: Tensor, inverse: Tensor)?
    }

    private let state = Mutex(State())

    /// `1 / |W + scale * B A|` for each row.
    func inverse(of weight: Tensor, _ a: Tensor, _ b: Tensor, _ scale: Float) -> Tensor {
        state.withLock { state in
            if state.squares.map({ !$0.weight.isSame(as: weight) }) ?? true {
                let norms = weight.rowNorms()
                state = State(squares: (weight, norms * norms))
            }
            if let last = state.last, last.a.isSame(as: a), last.b.isSame(as: b) { return last.inverse }
            let inverse = Self.inverse(squares: state.squares!.values, weight, a, b, scale)
            state.last = (a, b, inverse)
            return inverse
        }
    }

    /// From `|w + s * b A|^2 = |w|^2 + b . (2 s A w + s^2 A A^T b)`, which never makes the whole moved weight.
    private static func inverse(
        squares: Tensor, _ weight: Tensor, _ a: Tensor, _ b: Tensor, _ scale: Float
    ) -> Tensor {
        let (outputs, rank) = (b.shape[0], b.shape[1])
        // What multiplies a quantised weight would be rounded, as few rows are, or many where that is faster
        let product = Runtime.withProducts(asFewRows: false) { Runtime.withByteProducts(false) { a.linear(weight) } }
        let across = b.matmul(a.linear(a)) * (scale * scale) + product.transposed() * (2 * scale)
        let inverse = Tensor(uninitialized: [outputs])
        for row in 0..<outputs {
            var square = Double(squares.floats[row])
            for column in 0..<rank {
                square += Double(b.floats[row * rank + column]) * Double(across.floats[row * rank + column])
            }
            inverse.floats[row] = Float(1 / max(square, 1e-30).squareRoot())
        }
        return inverse
    }
}

extension Tensor {
    /// The norm of each row of a matrix in any dtype.
    package func rowNorms() -> Tensor {
        let (rows, columns) = (shape[0], shape[1])
        let norms = Tensor(uninitialized: [rows])
        for begin in stride(from: 0, to: rows, by: 256) {
            let values = self.rows(begin..<min(rows, begin + 256)).converted(to: .f32)
            for row in 0..<values.shape[0] {
                norms.floats[begin + row] = Float(
                    values.rows(row..<row + 1).reshaped(columns).sumOfSquares().squareRoot())
            }
        }
        return norms
    }

    /// Whether both are views of the same memory.
    fileprivate func isSame(as other: Tensor) -> Bool {
        storage === other.storage && byteOffset == other.byteOffset && shape == other.shape && dtype == other.dtype
    }
}
