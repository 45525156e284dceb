import CMoruKernels

extension CPUBackend {
    /// The most parts that rows are split into where their contributions are summed.
    private static let maximumParts = 64

    /// Runs a backward kernel over parts of the rows, giving each its own zeroed buffers for the parameters'
    /// gradients, and sums these in order. The parts depend on the sizes alone, and with them the result.
    func withParameterGradients(
        _ count: Int, rows: Int, dim: Int,
        _ body: (_ gradients: [UnsafeMutablePointer<Float>], _ begin: Int, _ end: Int) -> Void
    ) -> [Tensor] {
        let parts = max(1, min(Self.maximumParts, rows * dim / Self.grain))
        let partial = Tensor.zeros([parts, count, dim])
        threads.run(parts) { part in
            let pointers = (0..<count).map { partial.floats + (part * count + $0) * dim }
            body(pointers, rows * part / parts, rows * (part + 1) / parts)
        }
        return (0..<count).map { parameter in
            let total = Tensor.zeros([dim])
            for part in 0..<parts {
                kernels.add_scaled(partial.floats + (part * count + parameter) * dim, 1, total.floats, 0, dim)
            }
            return total
        }
    }

    func rmsNorm(_ x: Tensor, weight: Tensor, epsilon: Float) -> (y: Tensor, inverseRMS: Tensor) {
        let dim = weight.count
        let rows = x.count / max(1, dim)
        let (y, inverse) = (Tensor(uninitialized: x.shape), Tensor(uninitialized: [rows]))
        forRows(rows, dim: dim) {
            kernels.rms_norm(x.floats, weight.floats, epsilon, y.floats, inverse.floats, dim, $0, $1)
        }
        return (y, inverse)
    }

    func rmsNormBackward(
        _ dy: Tensor, _ x: Tensor, weight: Tensor, inverseRMS: Tensor
    ) -> (x: Tensor, weight: Tensor) {
        let dim = weight.count
        let dx = Tensor(uninitialized: x.shape)
        let gradients = withParameterGradients(1, rows: x.count / max(1, dim), dim: dim) { gradients, begin, end in
            kernels.rms_norm_backward(
                dy.floats, x.floats, weight.floats, inverseRMS.floats, dx.floats, gradients[0], dim, begin, end)
        }
        return (dx, gradients[0])
    }

    func layerNorm(
        _ x: Tensor, weight: Tensor, bias: Tensor?, epsilon: Float
    ) -> (y: Tensor, mean: Tensor, inverseDeviation: Tensor) {
        let dim = weight.count
        let rows = x.count / max(1, dim)
        let (y, mean, inverse) = (
            Tensor(uninitialized: x.shape), Tensor(uninitialized: [rows]), Tensor(uninitialized: [rows])
        )
        forRows(rows, dim: dim) {
            kernels.layer_norm(
                x.floats, weight.floats, bias?.floats, epsilon, y.floats, mean.floats, inverse.floats, dim, $0, $1)
        }
        return (y, mean, inverse)
    }

    func layerNormBackward(
        _ dy: Tensor, _ x: Tensor, weight: Tensor, mean: Tensor, inverseDeviation: Tensor
    ) -> (x: Tensor, weight: Tensor, bias: Tensor) {
        let dim = weight.count
        let dx = Tensor(uninitialized: x.shape)
        let gradients = withParameterGradients(2, rows: x.count / max(1, dim), dim: dim) { gradients, begin, end in
            kernels.layer_norm_backward(
                dy.floats, x.floats, weight.floats, mean.floats, inverseDeviation.floats, dx.floats, gradients[0],
                gradients[1], dim, begin, end)
        }
        return (dx, gradients[0], gradients[1])
    }

    func softmax(_ x: Tensor) -> Tensor {
        let dim = x.shape[x.rank - 1]
        let y = Tensor(uninitialized: x.shape)
        forRows(x.count / max(1, dim), dim: dim) { kernels.softmax(x.floats, y.floats, dim, $0, $1) }
        return y
    }

    func softmaxBackward(_ dy: Tensor, y: Tensor) -> Tensor {
        let dim = y.shape[y.rank - 1]
        let dx = Tensor(uninitialized: y.shape)
        forRows(y.count / max(1, dim), dim: dim) {
            kernels.softmax_backward(dy.floats, y.floats, dx.floats, dim, $0, $1)
        }
        return dx
    }

    func crossEntropy(_ logits: inout Tensor, targets: [Int32], scale: Float, wantsGradient: Bool) -> Tensor {
        let columns = logits.shape[1]
        return crossEntropy(&logits, columns: columns, targets: targets, scale: scale, wantsGradient: wantsGradient)
    }

    func outputPass(_ weight: Tensor, isRepeated: Bool) -> any OutputPass {
        CPUOutputPass(self, weight: weight, isRepeated: isRepeated)
    }

    /// The same of rows of which only some first columns are logits.
    func crossEntropy(
        _ logits: inout Tensor, columns: Int, targets: [Int32], scale: Float, wantsGradient: Bool
    ) -> Tensor {
        let (rows, stride) = (logits.shape[0], logits.shape[1])
        let losses = Tensor(uninitialized: [rows])
        if wantsGradient { logits.makeUnique() }
        let x = logits.floats
        targets.withUnsafeBufferPointer { targets in
            guard let targets = targets.baseAddress else { return }
            forRows(rows, dim: columns) { begin, end in
                for row in begin..<end {
                    let own = x + row * stride
                    kernels.cross_entropy(
                        own, targets + row, scale, losses.floats + row, wantsGradient ? own : nil, columns, 0, 1)
                }
            }
        }
        return losses
    }
}
