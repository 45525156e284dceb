import MoruTensor

/// What normalises each row of the last dimension.
public protocol Normalization: Sendable {
    /// The layer's parameters.
    var parameters: [Parameter] { get }
    /// Normalises each row of the last dimension.
    func callAsFunction(_ x: Tensor) -> Tensor
}

/// Root-mean-square normalisation (Zhang and Sennrich, 2019).
public final class RMSNorm: Normalization {
    /// [dim].
    public let weight: Parameter
    /// What is added to the mean square.
    public let epsilon: Float
    /// Ones, where rows are multiplied by 1 + weight (Gemma); nil where by the weight.
    private let offset: Tensor?

    /// Makes a layer.
    ///
    /// - Parameter unitOffset: Whether rows are multiplied by 1 + weight. A checkpoint in bf16 holds such a weight more
    ///   exactly than the sum, so that nothing but the sum's use tells the two apart.
    public init(weight: Parameter, epsilon: Float, unitOffset: Bool = false) {
        self.weight = weight
        self.epsilon = epsilon
        offset = unitOffset ? .ones(weight.value.shape) : nil
    }

    /// The layer's parameters.
    public var parameters: [Parameter] { [weight] }

    /// What normalised rows are multiplied by, [dim].
    public var gain: Tensor { offset.map { weight.tensor + $0 } ?? weight.tensor }

    /// Normalises each row of the last dimension.
    public func callAsFunction(_ x: Tensor) -> Tensor { x.rmsNorm(gain, epsilon: epsilon) }

    /// The step of a residual stream [N, D]: adds `delta` (nil adds nothing), and normalises the sum.
    ///
    /// - Parameter type: The format of the normalised sum, f32 or bf16.
    public func callAsFunction(
        _ residual: Tensor, adding delta: Tensor?, as type: DType = .f32
    ) -> (sum: Tensor, normalized: Tensor) {
        residual.addingAndNormalizing(delta, gain, epsilon: epsilon, as: type)
    }
}

/// Layer normalisation (Ba, Kiros and Hinton, 2016).
public final class LayerNorm: Normalization {
    /// [dim].
    public let weight: Parameter
    /// [dim], or nil.
    public let bias: Parameter?
    /// What is added to the variance.
    public let epsilon: Float

    /// Makes a layer.
    public init(weight: Parameter, bias: Parameter?, epsilon: Float) {
        self.weight = weight
        self.bias = bias
        self.epsilon = epsilon
    }

    /// The layer's parameters.
    public var parameters: [Parameter] { [weight] + (bias.map { [$0] } ?? []) }

    /// Normalises each row of the last dimension.
    public func callAsFunction(_ x: Tensor) -> Tensor {
        x.layerNorm(weight.tensor, bias: bias?.tensor, epsilon: epsilon)
    }
}
