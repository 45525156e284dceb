extension Tensor {
    /// The tensor in f32 or bf16; differentiable.
    public func cast(to type: DType) -> Tensor {
        if dtype == type { return self }
        let before = dtype
        // A gradient is as exact as its tensor, or more so
        return detached().converted(to: type).recording(self) { [before == .f32 ? $0.converted(to: .f32) : $0] }
    }

    /// The tensor in f32, where an operation computes in nothing else.
    func promoted() -> Tensor { cast(to: .f32) }
}
