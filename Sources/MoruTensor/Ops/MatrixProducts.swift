extension Tensor {
    /// The product of matrices [M, K] and [K, N], as [M, N].
    public func matmul(_ other: Tensor) -> Tensor {
        precondition(
            rank == 2 && other.rank == 2 && shape[1] == other.shape[0], "matmul: \(shape) and \(other.shape) do not fit"
        )
        requireMatrix(other, "matmul")
        let backend = Runtime.shared.backend
        guard dtype == .f32 else { return promoted().matmul(other) }
        let (a, b) = (detached(), other.detached())
        let (keptA, keptB) = (other.isTracked ? a : nil, isTracked ? b : nil)
        return backend.matmul(a, transposeA: false, b, transposeB: false, alpha: 1, adding: nil)
            .recording(self, other) { dy in
                [
                    keptB.map { backend.matmul(dy, transposeA: false, $0, transposeB: true, alpha: 1, adding: nil) },
                    keptA.map { backend.matmul($0, transposeA: true, dy, transposeB: false, alpha: 1, adding: nil) },
                ]
            }
    }

    /// A fully connected layer: `x W^T * alpha + addend`.
    ///
    /// The input and the result are f32 or bf16.
    ///
    /// - Parameters:
    ///   - weight: [out, in], in any dtype; it must be f32 to be trained.
    ///   - alpha: What the product is multiplied by.
    ///   - addend: [N, out], added to the result.
    ///   - type: The format of the result; nil for that of the addend, or without one of the input.
    /// - Returns: [N, out].
    public func linear(
        _ weight: Tensor, alpha: Float = 1, adding addend: Tensor? = nil, as type: DType? = nil
    ) -> Tensor {
        precondition(
            rank == 2 && weight.rank == 2 && shape[1] == weight.shape[1],
            "linear: input \(shape) and weight \(weight.shape) do not fit")
        requireMatrix(weight, "linear")
        precondition(
            addend.map { $0.shape == [shape[0], weight.shape[0]] } ?? true,
            "linear: the addend \(addend?.shape ?? []) is not [\(shape[0]), \(weight.shape[0])]")
        let (backend, resultType) = (Runtime.shared.backend, type ?? addend?.dtype ?? dtype)
        let addend = addend?.cast(to: resultType)
        let (x, w) = (detached(), weight.detached())
        // What is not needed for the gradients asked for is not kept
        let (keptX, keptW, inputType) = (weight.isTracked ? x : nil, isTracked ? w : nil, dtype)
        let y = backend.matmul(
            x, transposeA: false, w, transposeB: true, alpha: alpha, adding: addend?.detached(),
            as: resultType)
        func gradients(_ dy: Tensor) -> [Tensor?] {
            [
                keptW.map {
                    backend.matmul(
                        dy, transposeA: false, $0, transposeB: false, alpha: alpha, adding: nil,
                        as: inputType)
                },
                keptX.map { backend.matmul(dy, transposeA: true, $0, transposeB: false, alpha: alpha, adding: nil) },
            ]
        }
        guard let addend else { return y.recording(self, weight, rule: gradients) }
        return y.recording(self, weight, addend) { gradients($0) + [$0] }
    }
}

/// Rows of `table` [V, D], in any dtype, for token ids: [ids.count, D].
///
/// Ids must lie in 0 ..< V.
public func embedding(_ ids: [Int32], _ table: Tensor) -> Tensor {
    precondition(table.rank == 2, "embedding: a table is [rows, columns], this one is \(table.shape)")
    let rows = table.shape[0]
    precondition(ids.allSatisfy { $0 >= 0 && $0 < rows }, "embedding: an id lies outside the table of \(rows) rows")
    requireMatrix(table, "embedding")
    let backend = Runtime.shared.backend
    let shape = table.shape
    return backend.gatherRows(table, ids).recording([table]) { dy in [.rows(dy, at: ids, of: shape)] }
}

/// A matrix in any dtype of real numbers, its rows in whole blocks; f32 where it is followed.
func requireMatrix(_ matrix: Tensor, _ operation: String) {
    let dtype = matrix.dtype
    precondition(
        dtype.isFloatingPoint && matrix.shape[1] % dtype.blockElements == 0,
        "\(operation): \(dtype) \(matrix.shape) is not a matrix of real numbers in whole blocks")
    precondition(!matrix.isTracked || dtype == .f32, "\(operation): a \(dtype) matrix cannot be trained")
}
