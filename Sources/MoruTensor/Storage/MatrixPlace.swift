/// Which part of a storage a matrix is, and how its bytes are read: what derived forms of the matrix are filed under.
struct MatrixPlace: Hashable {
    private let byteOffset, rows, columns: Int
    private let dtype: DType

    /// The place of a matrix [rows, columns].
    init(_ matrix: Tensor) {
        (byteOffset, dtype) = (matrix.byteOffset, matrix.dtype)
        (rows, columns) = (matrix.shape[0], matrix.shape[1])
    }
}
