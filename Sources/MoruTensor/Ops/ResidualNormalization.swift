extension Tensor {
    /// The step of a residual stream (He et al., 2015): adds what a layer contributes, and normalises the sum by its
    /// root mean square (Zhang and Sennrich, 2019) for the next one.
    ///
    /// The normalised sum is not kept for gradients of products with it, but computed again. Nor is every other sum where
    /// what was added to it takes less memory.
    ///
    /// - Parameters:
    ///   - delta: [N, D], f32 or bf16, added to this f32 tensor [N, D]; nil adds nothing.
    ///   - weight: [D].
    ///   - type: The format of the normalised sum, f32 or bf16.
    /// - Returns: The sum, f32, and the normalised sum, both [N, D].
    public func addingAndNormalizing(
        _ delta: Tensor?, _ weight: Tensor, epsilon: Float, as type: DType = .f32
    ) -> (sum: Tensor, normalized: Tensor) {
        precondition(
            rank == 2 && dtype == .f32 && [shape[1]] == weight.shape && delta.map { $0.shape == shape } ?? true,
            "residual stream: \(dtype)\(shape), \(delta?.shape ?? shape) and weight \(weight.shape) do not fit")
        let backend = Runtime.shared.backend
        let (sum, y, inverseRMS) = backend.addRMSNorm(
            detached(), delta?.detached(), weight: weight.detached(), epsilon: epsilon, as: type)
        let (w, wantsWeight) = (weight.detached(), weight.isTracked)
        let wantsNarrow = delta.map { $0.isTracked && $0.dtype == .bf16 } ?? false
        var kept = KeptStep(sum, weight: w, epsilon: epsilon, as: type)
        let keepsParts = node?.isKept == true && delta.map { $0.byteCount < sum.byteCount } ?? false
        if keepsParts { kept = KeptStep(detached(), delta?.detached(), weight: w, epsilon: epsilon, as: type) }
        let results = [sum, y].recordingTogether([self, delta ?? detached(), weight]) { [kept] gradients in
            // Where only the sum went on, its gradient is that of both
            guard let dy = gradients[1] else { return [gradients[0], gradients[0], nil] }
            // A layer whose output was bf16 rounds its gradient anyway
            let (dx, narrow, dWeight) = backend.addRMSNormBackward(
                dy, gradients[0], sum: kept.takeSum(), weight: w, inverseRMS: inverseRMS, wantsNarrow: wantsNarrow,
                wantsWeight: wantsWeight)
            return [dx, narrow ?? dx, dWeight]
        }
        results[0].node?.isKept = !keepsParts
        results[1].node?.again = { [kept] in kept.normalized() }
        return (results[0], results[1])
    }
}

/// What is kept of a step of a residual stream: the sum, or what was added up to it.
private final class KeptStep {
    private let residual: Tensor
    private let delta: Tensor?
    private let weight: Tensor
    private let epsilon: Float
    private let type: DType
    /// The sum, once it has been computed again.
    private var sum: Tensor?

    init(_ residual: Tensor, _ delta: Tensor? = nil, weight: Tensor, epsilon: Float, as type: DType) {
        (self.residual, self.delta, self.weight) = (residual, delta, weight)
        (self.epsilon, self.type) = (epsilon, type)
    }

    /// The normalised sum.
    func normalized() -> Tensor {
        let step = Runtime.shared.backend.addRMSNorm(residual, delta, weight: weight, epsilon: epsilon, as: type)
        if delta != nil { sum = step.sum }
        return step.y
    }

    /// The sum, for the last time.
    func takeSum() -> Tensor {
        guard delta != nil else { return residual }
        if sum == nil { _ = normalized() }
        defer { sum = nil }
        return sum ?? residual
    }
}
