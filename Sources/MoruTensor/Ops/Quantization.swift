import CMoruKernels

extension DType {
    /// Whether ``Tensor/quantized(to:importance:)`` writes this format.
    public var isSearchable: Bool { kernelType.map { moru_can_quantize_rows($0) } ?? false }
}

extension Tensor {
    /// The values in a quantised format, the scales of every block searched for the least weighted squared error.
    ///
    /// Slower and closer than ``converted(to:)``, for files that are written once. The result does not depend on the
    /// CPU or the number of threads.
    ///
    /// - Parameters:
    ///   - dtype: A format that ``DType/isSearchable`` says yes to; rows of the last dimension must be whole blocks.
    ///   - importance: How much the error of each column matters, such as the mean square of what it is multiplied
    ///     with; as many as a row has elements. Without it, larger weights matter more.
    public func quantized(to dtype: DType, importance: [Float]? = nil) -> Tensor {
        let columns = shape.last ?? 1
        precondition(
            dtype.isSearchable && columns % dtype.blockElements == 0 && importance.map { $0.count == columns } ?? true,
            "\(self.dtype) \(shape) cannot be quantised to \(dtype) by \(importance?.count ?? columns) weights")
        guard let type = dtype.kernelType else { return self }
        let values = converted(to: .f32)
        let result = Tensor(uninitialized: shape, dtype: dtype)
        let (runtime, rowBytes) = (Runtime.shared, columns / dtype.blockElements * dtype.blockBytes)
        guard columns > 0 else { return result }
        func quantize(_ importance: UnsafePointer<Float>?) {
            runtime.threads.forRanges(count / columns, minimum: 1, partsPerThread: 8) { rows in
                runtime.kernels.quantize_rows(
                    type, values.floats + rows.lowerBound * columns, importance,
                    UnsafeMutableRawPointer(mutating: result.bytes + rows.lowerBound * rowBytes), rows.count, columns)
            }
        }
        if let importance { importance.withUnsafeBufferPointer { quantize($0.baseAddress) } } else { quantize(nil) }
        return result
    }
}
