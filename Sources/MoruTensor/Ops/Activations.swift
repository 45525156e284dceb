extension Tensor {
    /// Applies an activation function elementwise.
    public func activated(by function: Activation) -> Tensor {
        let backend = Runtime.shared.backend
        let x = promoted().detached()
        return backend.activate(x, function).recording(self) { [backend.activateBackward($0, x, function)] }
    }
}

/// `silu(gate) * up`, elementwise, f32 or bf16: the gated activation of Llama's feed-forward (Shazeer, 2020).
public func swiglu(gate: Tensor, up: Tensor) -> Tensor {
    requireSameShape(gate, up, "swiglu")
    guard gate.dtype == up.dtype else { return swiglu(gate: gate.promoted(), up: up.promoted()) }
    let backend = Runtime.shared.backend
    let (g, u) = (gate.detached(), up.detached())
    return backend.swiglu(gate: g, up: u).recording(gate, up) { dy in
        let gradients = backend.swigluBackward(dy, gate: g, up: u)
        return [gradients.gate, gradients.up]
    }
}
