extension Tensor {
    /// Applies an activation function elementwise.
    public func activated(by function: Activation) -> Tensor {
        let backend = Runtime.shared.backend
        let x = promoted().detached()
        return backend.activate(x, function).recording(self) { [backend.activateBackward($0, x, function)] }
    }

    /// Soft capping, `cap * tanh(x / cap)`, elementwise: what is small stays, nothing exceeds the cap (Gemma 2; Gemma
    /// Team, 2024).
    public func softcapped(_ cap: Float) -> Tensor {
        precondition(cap > 0, "softcapped: a cap of \(cap) is not positive")
        let backend = Runtime.shared.backend
        let y = backend.softcap(promoted().detached(), cap)
        return y.recording(self) { [backend.softcapBackward($0, y: y, cap)] }
    }
}

/// `silu(gate) * up`, elementwise, f32 or bf16: the gated activation of Llama's feed-forward (Shazeer, 2020).
public func swiglu(gate: Tensor, up: Tensor) -> Tensor { gated(gate: gate, up: up, by: .silu) }

/// An activation of `gate` times `up`, elementwise, f32 or bf16 (Shazeer, 2020).
public func gated(gate: Tensor, up: Tensor, by function: Activation) -> Tensor {
    requireSameShape(gate, up, "gated")
    guard gate.dtype == up.dtype else { return gated(gate: gate.promoted(), up: up.promoted(), by: function) }
    if function == .relu || function == .tanh { return gate.activated(by: function) * up }
    let backend = Runtime.shared.backend
    let inputs = LastUse((gate.detached(), up.detached()))
    return backend.gated(gate: gate.detached(), up: up.detached(), by: function).recording(gate, up) { dy in
        var (gate, up) = inputs.take()
        var dy = dy
        backend.gatedBackward(&dy, gate: &gate, up: &up, by: function, wantsResult: false)
        return [gate, up]
    }
}

/// A gated activation and the fully connected layer after it: `gated(gate, up) W^T`, to the bit.
///
/// Where the weight is trained, the activation, one of the largest of a transformer, is not kept for its gradient: it
/// comes again with the gradients of gate and up.
///
/// - Parameter weight: [out, in], in any dtype; it must be f32 to be trained.
public func gatedLinear(gate: Tensor, up: Tensor, by function: Activation, _ weight: Tensor) -> Tensor {
    guard weight.isTracked, gate.isTracked, up.isTracked, gate.dtype == up.dtype, function != .relu, function != .tanh
    else { return gated(gate: gate, up: up, by: function).linear(weight) }
    requireSameShape(gate, up, "gatedLinear")
    let (w, type) = (weight.detached(), gate.dtype)
    let inputs = LastUse((gate.detached(), up.detached()))
    let backend = Runtime.shared.backend
    let inner = backend.gated(gate: gate.detached(), up: up.detached(), by: function)
    return inner.linear(w).recording(gate, up, weight) { dy in
        var (gate, up) = inputs.take()
        var inner = backend.matmul(dy, transposeA: false, w, transposeB: false, alpha: 1, adding: nil, as: type)
        backend.gatedBackward(&inner, gate: &gate, up: &up, by: function, wantsResult: true)
        return [gate, up, backend.matmul(dy, transposeA: true, inner, transposeB: false, alpha: 1, adding: nil)]
    }
}
