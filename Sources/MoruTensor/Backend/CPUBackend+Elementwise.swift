import CMoruKernels

extension CPUBackend {
    private func elementwise(_ shape: [Int], _ body: (UnsafeMutablePointer<Float>, Int, Int) -> Void) -> Tensor {
        let y = Tensor(uninitialized: shape)
        forElements(y.count) { body(y.floats, $0, $1) }
        return y
    }

    func add(_ a: Tensor, _ b: Tensor) -> Tensor {
        elementwise(a.shape) { kernels.add(a.floats, b.floats, $0, $1, $2) }
    }

    func subtract(_ a: Tensor, _ b: Tensor) -> Tensor {
        elementwise(a.shape) { kernels.subtract(a.floats, b.floats, $0, $1, $2) }
    }

    func multiply(_ a: Tensor, _ b: Tensor) -> Tensor {
        elementwise(a.shape) { kernels.multiply(a.floats, b.floats, $0, $1, $2) }
    }

    func scale(_ x: Tensor, by factor: Float) -> Tensor {
        elementwise(x.shape) { kernels.scale(x.floats, factor, $0, $1, $2) }
    }

    func addRow(_ x: Tensor, _ row: Tensor) -> Tensor {
        let dim = row.count
        let y = Tensor(uninitialized: x.shape)
        forRows(x.count / max(1, dim), dim: dim) { begin, end in
            for r in begin..<end { kernels.add(x.floats + r * dim, row.floats, y.floats + r * dim, 0, dim) }
        }
        return y
    }

    func multiplyRow(_ x: Tensor, _ row: Tensor) -> Tensor {
        let dim = row.count
        let y = Tensor(uninitialized: x.shape)
        forRows(x.count / max(1, dim), dim: dim) { begin, end in
            for r in begin..<end { kernels.multiply(x.floats + r * dim, row.floats, y.floats + r * dim, 0, dim) }
        }
        return y
    }

    func sumRows(_ x: Tensor) -> Tensor {
        let dim = x.shape[x.rank - 1]
        let y = Tensor.zeros([dim])
        let rows = x.count / max(1, dim)
        forColumns(dim, rows: rows) { begin, end in
            for row in 0..<rows { kernels.add_scaled(x.floats + row * dim, 1, y.floats, begin, end) }
        }
        return y
    }

    func sum(_ x: Tensor) -> Tensor { Tensor(Float(kernels.sum(x.floats, 0, x.count))) }

    func activate(_ x: Tensor, _ function: Activation) -> Tensor {
        elementwise(x.shape) { y, begin, end in
            switch function {
            case .silu: kernels.silu(x.floats, y, begin, end)
            case .gelu: kernels.gelu(x.floats, y, false, begin, end)
            case .geluTanh: kernels.gelu(x.floats, y, true, begin, end)
            case .relu: kernels.relu(x.floats, y, begin, end)
            case .tanh: kernels.tanh(x.floats, y, begin, end)
            }
        }
    }

    func activateBackward(_ dy: Tensor, _ x: Tensor, _ function: Activation) -> Tensor {
        elementwise(x.shape) { dx, begin, end in
            switch function {
            case .silu: kernels.silu_backward(dy.floats, x.floats, dx, begin, end)
            case .gelu: kernels.gelu_backward(dy.floats, x.floats, dx, false, begin, end)
            case .geluTanh: kernels.gelu_backward(dy.floats, x.floats, dx, true, begin, end)
            case .relu: kernels.relu_backward(dy.floats, x.floats, dx, begin, end)
            case .tanh: kernels.tanh_backward(dy.floats, x.floats, dx, begin, end)
            }
        }
    }

    func softcap(_ x: Tensor, _ cap: Float) -> Tensor {
        elementwise(x.shape) { kernels.softcap(x.floats, cap, $0, $1, $2) }
    }

    func softcapBackward(_ dy: Tensor, y: Tensor, _ cap: Float) -> Tensor {
        elementwise(y.shape) { kernels.softcap_backward(dy.floats, y.floats, cap, $0, $1, $2) }
    }
}
