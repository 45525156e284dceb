extension Tensor {
    /// The step of a residual stream (He et al., 2015): adds what a layer contributes, and normalises the sum by its
    /// root mean square (Zhang and Sennrich, 2019) for the next one.
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
        let results = [sum, y].recordingTogether([self, delta ?? detached(), weight]) { gradients in
            // Where only the sum went on, its gradient is that of both
            guard let dy = gradients[1] else { return [gradients[0], gradients[0], nil] }
            // A layer whose output was bf16 rounds its gradient anyway
            let (dx, narrow, dWeight) = backend.addRMSNormBackward(
                dy, gradients[0], sum: sum, weight: w, inverseRMS: inverseRMS, wantsNarrow: wantsNarrow,
                wantsWeight: wantsWeight)
            return [dx, narrow ?? dx, dWeight]
        }
        return (results[0], results[1])
    }
}
