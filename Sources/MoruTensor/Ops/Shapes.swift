extension Tensor {
    /// The same elements under another shape.
    public func reshaped(_ newShape: Int...) -> Tensor { reshaped(newShape) }

    /// The same elements under another shape.
    public func reshaped(_ newShape: [Int]) -> Tensor {
        precondition(newShape.reduce(1, *) == count, "\(shape) does not reshape to \(newShape)")
        let oldShape = shape
        let view = Tensor(storage: storage, byteOffset: byteOffset, shape: newShape, dtype: dtype)
        return view.recording(self) { [$0.reshaped(oldShape)] }
    }

    /// A view of some slices of the leading dimension.
    public func rows(_ range: Range<Int>) -> Tensor {
        precondition(
            rank > 0 && 0...shape[0] ~= range.lowerBound && range.upperBound <= shape[0],
            "rows \(range) lie outside \(shape)")
        let rowElements = shape.dropFirst().reduce(1, *)
        guard let rowBytes = dtype.byteCount(of: rowElements) else {
            preconditionFailure("rows of \(rowElements) elements are not a whole number of \(dtype) blocks")
        }
        let view = Tensor(
            storage: storage, byteOffset: byteOffset + range.lowerBound * rowBytes,
            shape: [range.count] + shape.dropFirst(), dtype: dtype)
        let fullShape = shape
        return view.recording([self]) { dy in [.rows(dy, range, of: fullShape)] }
    }

    /// Chosen slices of the leading dimension of an f32 tensor, in the given order.
    public func gatheringRows(_ indices: [Int]) -> Tensor {
        let rowElements = shape.dropFirst().reduce(1, *)
        precondition(indices.allSatisfy { 0..<shape[0] ~= $0 }, "gatheringRows: an index lies outside \(shape)")
        guard dtype == .f32 else { return promoted().gatheringRows(indices) }
        let result = Tensor(uninitialized: [indices.count] + shape.dropFirst())
        for (row, index) in indices.enumerated() {
            (result.floats + row * rowElements).update(from: floats + index * rowElements, count: rowElements)
        }
        let (fullShape, ids) = (shape, indices.map(Int32.init))
        return result.recording([self]) { dy in [.rows(dy, at: ids, of: fullShape)] }
    }

    /// Tensors of the same trailing shape, one after the other along the leading dimension.
    public static func concatenated(_ parts: [Tensor]) -> Tensor {
        guard let first = parts.first else { preconditionFailure("concatenated: nothing to concatenate") }
        if Set(parts.map(\.dtype)) == [.f32, .bf16] { return concatenated(parts.map { $0.promoted() }) }
        precondition(
            parts.allSatisfy { $0.shape.dropFirst() == first.shape.dropFirst() && $0.dtype == first.dtype },
            "concatenated: the shapes \(parts.map(\.shape)) do not fit")
        let result = Tensor(
            uninitialized: [parts.reduce(0) { $0 + $1.shape[0] }] + first.shape.dropFirst(), dtype: first.dtype)
        var offset = 0
        var ranges: [Range<Int>] = []
        var row = 0
        for part in parts {
            (result.storage.base + offset).copyMemory(from: part.bytes, byteCount: part.byteCount)
            offset += part.byteCount
            ranges.append(row..<row + part.shape[0])
            row += part.shape[0]
        }
        return result.recording(parts) { dy in ranges.map { dy.rows($0) } }
    }

    /// The transpose of an f32 matrix, copied.
    public func transposed() -> Tensor {
        precondition(rank == 2, "transposed: a matrix is needed, this tensor is \(shape)")
        guard dtype == .f32 else { return promoted().transposed() }
        return detached().transposedCopy().recording(self) { [$0.transposed()] }
    }
}

extension Tensor {
    /// The slices of the leading dimension in another order, in any dtype; not differentiable.
    public func permutingRows(_ order: [Int]) -> Tensor {
        precondition(
            !isTracked && order.allSatisfy { 0..<shape[0] ~= $0 }, "permutingRows: order does not fit \(shape)")
        let result = Tensor(uninitialized: [order.count] + shape.dropFirst(), dtype: dtype)
        guard shape[0] > 0 else { return result }
        let rowBytes = byteCount / shape[0]
        for (row, index) in order.enumerated() {
            (result.storage.base + row * rowBytes).copyMemory(from: bytes + index * rowBytes, byteCount: rowBytes)
        }
        return result
    }
}
