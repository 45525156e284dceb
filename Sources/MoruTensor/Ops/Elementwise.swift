// Arithmetic is f32: activations in bf16 are promoted to it.
extension Tensor {
    /// Elementwise sum of tensors of the same shape.
    public static func + (a: Tensor, b: Tensor) -> Tensor {
        requireSameShape(a, b, "+")
        let (a, b) = (a.promoted(), b.promoted())
        return Runtime.shared.backend.add(a, b).recording(a, b) { [$0, $0] }
    }

    /// Elementwise difference of tensors of the same shape.
    public static func - (a: Tensor, b: Tensor) -> Tensor {
        requireSameShape(a, b, "-")
        let (a, b) = (a.promoted(), b.promoted())
        let backend = Runtime.shared.backend
        return backend.subtract(a, b).recording(a, b) { [$0, backend.scale($0, by: -1)] }
    }

    /// Elementwise product of tensors of the same shape.
    public static func * (a: Tensor, b: Tensor) -> Tensor {
        requireSameShape(a, b, "*")
        let (a, b) = (a.promoted(), b.promoted())
        let backend = Runtime.shared.backend
        let (x, y) = (a.detached(), b.detached())
        let (wantsA, wantsB) = (a.isTracked, b.isTracked)
        return backend.multiply(x, y).recording(a, b) {
            [wantsA ? backend.multiply($0, y) : nil, wantsB ? backend.multiply($0, x) : nil]
        }
    }

    /// The tensor multiplied by a number.
    public static func * (x: Tensor, factor: Float) -> Tensor {
        let (backend, x) = (Runtime.shared.backend, x.promoted())
        return backend.scale(x, by: factor).recording(x) { [backend.scale($0, by: factor)] }
    }

    /// Adds `row` [D] to each row of this tensor [..., D].
    public func addingRow(_ row: Tensor) -> Tensor {
        precondition(row.rank == 1 && shape.last == row.count, "addingRow: \(shape) and \(row.shape) do not fit")
        let backend = Runtime.shared.backend
        let (x, wantsRow) = (promoted(), row.isTracked)
        return backend.addRow(x, row).recording(x, row) { [$0, wantsRow ? backend.sumRows($0) : nil] }
    }

    /// Multiplies each row of this tensor [N, D] by `row` [D], elementwise.
    public func multiplyingRow(_ row: Tensor) -> Tensor {
        precondition(
            rank == 2 && row.rank == 1 && shape[1] == row.count, "multiplyingRow: \(shape) and \(row.shape) do not fit")
        let backend = Runtime.shared.backend
        let rows = promoted()
        let (x, factors) = (rows.detached(), row.detached())
        let (wantsX, wantsRow) = (isTracked, row.isTracked)
        return backend.multiplyRow(x, factors).recording(rows, row) { dy in
            [
                wantsX ? backend.multiplyRow(dy, factors) : nil,
                wantsRow ? backend.sumRows(backend.multiply(dy, x)) : nil,
            ]
        }
    }

    /// The sum of all elements, as a scalar.
    public func sum() -> Tensor {
        let (x, shape) = (promoted(), shape)
        return Runtime.shared.backend.sum(x).recording(x) { [Tensor.filled($0.scalar, shape)] }
    }

    /// The mean of all elements, as a scalar.
    public func mean() -> Tensor { sum() * (1 / Float(max(1, count))) }

    /// Zeroes each element with the given probability and scales the rest so that the mean stays (Srivastava et al.,
    /// 2014).
    public func dropout(_ probability: Float, using generator: inout RandomGenerator) -> Tensor {
        guard probability > 0 else { return self }
        let mask = Tensor(uninitialized: shape)
        let kept = 1 / (1 - probability)
        let values = mask.floats
        for index in 0..<mask.count { values[index] = generator.uniform() < probability ? 0 : kept }
        return self * mask
    }
}

func requireSameShape(_ a: Tensor, _ b: Tensor, _ operation: String) {
    precondition(a.shape == b.shape, "\(operation): shapes \(a.shape) and \(b.shape) differ")
}
