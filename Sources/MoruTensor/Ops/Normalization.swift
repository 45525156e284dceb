extension Tensor {
    /// Root-mean-square normalisation of each row, `x / rms(x) * weight` (Zhang and Sennrich, 2019).
    ///
    /// - Parameter weight: [D], where D is the last dimension.
    public func rmsNorm(_ weight: Tensor, epsilon: Float) -> Tensor {
        precondition(
            rank > 0 && [shape[rank - 1]] == weight.shape, "rmsNorm: \(shape) and weight \(weight.shape) do not fit")
        guard dtype == .f32 else { return promoted().rmsNorm(weight, epsilon: epsilon) }
        let backend = Runtime.shared.backend
        let (x, w) = (detached(), weight.detached())
        let (y, inverseRMS) = backend.rmsNorm(x, weight: w, epsilon: epsilon)
        return y.recording(self, weight) { dy in
            let gradients = backend.rmsNormBackward(dy, x, weight: w, inverseRMS: inverseRMS)
            return [gradients.x, gradients.weight]
        }
    }

    /// Layer normalisation of each row (Ba, Kiros and Hinton, 2016).
    ///
    /// - Parameters:
    ///   - weight: [D], where D is the last dimension.
    ///   - bias: [D], or nil.
    public func layerNorm(_ weight: Tensor, bias: Tensor?, epsilon: Float) -> Tensor {
        precondition(
            rank > 0 && [shape[rank - 1]] == weight.shape && bias.map { $0.shape == weight.shape } ?? true,
            "layerNorm: \(shape), weight \(weight.shape) and bias \(bias?.shape ?? []) do not fit")
        guard dtype == .f32 else { return promoted().layerNorm(weight, bias: bias, epsilon: epsilon) }
        let backend = Runtime.shared.backend
        let (x, w) = (detached(), weight.detached())
        let (y, mean, inverse) = backend.layerNorm(x, weight: w, bias: bias?.detached(), epsilon: epsilon)
        return y.recording(self, weight, bias ?? weight.detached()) { dy in
            let gradients = backend.layerNormBackward(dy, x, weight: w, mean: mean, inverseDeviation: inverse)
            return [gradients.x, gradients.weight, bias == nil ? nil : gradients.bias]
        }
    }
}
