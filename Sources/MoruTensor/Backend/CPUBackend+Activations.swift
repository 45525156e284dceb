import CMoruKernels

// What is fused, or takes activations in bf16.
extension CPUBackend {
    func addRMSNorm(
        _ residual: Tensor, _ delta: Tensor?, weight: Tensor, epsilon: Float, as type: DType
    ) -> (sum: Tensor, y: Tensor, inverseRMS: Tensor) {
        let dim = weight.count
        let rows = residual.count / max(1, dim)
        let sum = delta == nil ? residual : Tensor(uninitialized: residual.shape)
        let (y, inverse) = (Tensor(uninitialized: residual.shape, dtype: type), Tensor(uninitialized: [rows]))
        var arguments = moru_add_rms_norm()
        arguments.dim = dim
        arguments.sum_type = MORU_F32
        arguments.x_type = (delta ?? residual).dtype.kernelType!
        arguments.x = (delta ?? residual).bytes
        if delta != nil {
            arguments.residual = residual.bytes
            arguments.sum = UnsafeMutableRawPointer(sum.floats)
        }
        arguments.w = UnsafePointer(weight.floats)
        arguments.epsilon = epsilon
        arguments.y = UnsafeMutableRawPointer(mutating: y.bytes)
        arguments.y_type = type.kernelType!
        arguments.inverse_rms = inverse.floats
        withExtendedLifetime((residual, delta, weight)) {
            withUnsafePointer(to: arguments) { arguments in
                forRows(rows, dim: dim) { kernels.add_rms_norm(arguments, $0, $1) }
            }
        }
        return (sum, y, inverse)
    }

    func addRMSNormBackward(
        _ dy: Tensor, _ dSum: Tensor?, sum: Tensor, weight: Tensor, inverseRMS: Tensor, wantsNarrow: Bool,
        wantsWeight: Bool
    ) -> (x: Tensor, narrow: Tensor?, weight: Tensor?) {
        let dim = weight.count
        let rows = sum.count / max(1, dim)
        let dx = Tensor(uninitialized: sum.shape)
        let narrow = wantsNarrow ? Tensor(uninitialized: sum.shape, dtype: .bf16) : nil
        let dSum = dSum?.converted(to: .f32)
        var arguments = moru_add_rms_norm_gradient()
        arguments.dim = dim
        arguments.dy = dy.bytes
        arguments.dy_type = dy.dtype.kernelType!
        (arguments.sum_type, arguments.dx_type) = (MORU_F32, MORU_F32)
        arguments.sum = UnsafeRawPointer(sum.floats)
        arguments.w = UnsafePointer(weight.floats)
        arguments.inverse_rms = UnsafePointer(inverseRMS.floats)
        arguments.d_residual = dSum.map { $0.bytes }
        arguments.dx = UnsafeMutableRawPointer(dx.floats)
        arguments.dx_narrow = narrow.map { UnsafeMutableRawPointer(mutating: $0.bytes) }
        let fixed = arguments
        return withExtendedLifetime((dy, dSum, sum, weight)) {
            guard wantsWeight else {
                withUnsafePointer(to: fixed) { fixed in
                    forRows(rows, dim: dim) { kernels.add_rms_norm_backward(fixed, $0, $1) }
                }
                return (dx, narrow, nil)
            }
            let gradients = withParameterGradients(1, rows: rows, dim: dim) { gradients, begin, end in
                var part = fixed
                part.dw = gradients[0]
                kernels.add_rms_norm_backward(&part, begin, end)
            }
            return (dx, narrow, gradients[0])
        }
    }

    func gated(gate: Tensor, up: Tensor, by function: Activation) -> Tensor {
        let y = Tensor(uninitialized: gate.shape, dtype: gate.dtype)
        var (arguments, rows) = gatedArguments(gate: gate, up: up, by: function)
        arguments.y = UnsafeMutableRawPointer(mutating: y.bytes)
        withExtendedLifetime((gate, up)) {
            withUnsafePointer(to: arguments) { arguments in
                forRows(rows, dim: arguments.pointee.dim) { kernels.gated_rows(arguments, $0, $1) }
            }
        }
        return y
    }

    func gatedBackward(
        _ dy: inout Tensor, gate: inout Tensor, up: inout Tensor, by function: Activation, wantsResult: Bool
    ) {
        dy = dy.converted(to: gate.dtype)
        if wantsResult { dy.makeUnique() }
        gate.makeUnique()
        up.makeUnique()
        var (arguments, rows) = gatedArguments(gate: gate, up: up, by: function)
        arguments.dy = dy.bytes
        arguments.y = wantsResult ? UnsafeMutableRawPointer(mutating: dy.bytes) : nil
        arguments.d_gate = UnsafeMutableRawPointer(mutating: gate.bytes)
        arguments.d_up = UnsafeMutableRawPointer(mutating: up.bytes)
        withExtendedLifetime((dy, gate, up)) {
            withUnsafePointer(to: arguments) { arguments in
                forRows(rows, dim: arguments.pointee.dim) { kernels.gated_rows_backward(arguments, $0, $1) }
            }
        }
    }

    private func gatedArguments(
        gate: Tensor, up: Tensor, by function: Activation
    ) -> (arguments: moru_gated, rows: Int) {
        var arguments = moru_gated()
        arguments.function = function.gateFunction
        arguments.dim = gate.shape.last ?? 1
        (arguments.gate, arguments.up) = (gate.bytes, up.bytes)
        (arguments.input_row_stride, arguments.output_row_stride) = (arguments.dim, arguments.dim)
        let type = gate.dtype.kernelType!
        (arguments.input_type, arguments.output_type) = (type, type)
        return (arguments, gate.count / max(1, arguments.dim))
    }

    func rope(_ x: Tensor, _ angles: RotaryAngles, inverse: Bool) -> Tensor {
        let (heads, headDim) = (x.shape[1], x.shape[2])
        let y = Tensor(uninitialized: x.shape, dtype: x.dtype)
        var arguments = moru_rope()
        (arguments.heads, arguments.head_dim, arguments.rotated) = (heads, headDim, angles.rotated)
        arguments.x = x.bytes
        arguments.y = UnsafeMutableRawPointer(mutating: y.bytes)
        (arguments.x_row_stride, arguments.y_row_stride) = (heads * headDim, heads * headDim)
        arguments.cosines = UnsafePointer(angles.cosines.floats)
        arguments.sines = UnsafePointer(angles.sines.floats)
        (arguments.interleaved, arguments.inverse) = (angles.interleaved, inverse)
        arguments.type = x.dtype.kernelType!
        withExtendedLifetime((x, angles)) {
            withUnsafePointer(to: arguments) { arguments in
                forRows(x.shape[0], dim: heads * headDim) { kernels.rope_rows(arguments, $0, $1) }
            }
        }
        return y
    }

    /// Multiplies some columns of `up` [rows, width] by the activation of `gate`, in the gate's place.
    func gate(
        _ gate: UnsafeMutablePointer<Float>, _ up: UnsafePointer<Float>, by function: Activation,
        _ columns: Range<Int>, rows: Int = 1, width: Int = 0
    ) {
        var arguments = moru_gated()
        (arguments.function, arguments.dim) = (function.gateFunction, columns.count)
        (arguments.input_row_stride, arguments.output_row_stride) = (width, width)
        (arguments.input_type, arguments.output_type) = (MORU_F32, MORU_F32)
        arguments.gate = UnsafeRawPointer(gate + columns.lowerBound)
        arguments.up = UnsafeRawPointer(up + columns.lowerBound)
        arguments.y = UnsafeMutableRawPointer(gate + columns.lowerBound)
        kernels.gated_rows(&arguments, 0, rows)
    }
}

extension Activation {
    /// The function, for the kernels.
    var kernelFunction: moru_activation {
        switch self {
        case .silu: MORU_SILU
        case .gelu: MORU_GELU
        case .geluTanh: MORU_GELU_TANH
        case .relu: MORU_RELU
        case .tanh: MORU_TANH
        }
    }

    /// The function of a gate, for the kernels.
    var gateFunction: moru_activation {
        precondition(self != .relu && self != .tanh, "gated: \(self) has no kernel of its own")
        return kernelFunction
    }
}
