extension Tensor {
    /// Several fully connected layers of the same input, `x W^T` for each weight, computed as one.
    ///
    /// Each result equals ``linear(_:alpha:adding:)`` of its weight. The input is prepared once, the threads share all
    /// outputs, and the gradients that reach the input are summed in one product.
    ///
    /// - Parameters:
    ///   - weights: [out, in] each, in any dtype; f32 to be trained.
    ///   - type: The format of the results, f32 or bf16; nil for that of the input.
    /// - Returns: [N, out] for each weight.
    public func linear(_ weights: [Tensor], as type: DType? = nil) -> [Tensor] {
        for weight in weights {
            precondition(
                rank == 2 && weight.rank == 2 && shape[1] == weight.shape[1],
                "linear: input \(shape) and weight \(weight.shape) do not fit")
            requireMatrix(weight, "linear")
        }
        let backend = Runtime.shared.backend
        let (x, fixed) = (detached(), weights.map { $0.detached() })
        let results = backend.products(x, fixed, as: type ?? dtype)
        let (wantsX, wantsW, inputType) = (isTracked, weights.map(\.isTracked), dtype)
        // What is not needed for the gradients asked for is not kept
        let keptX = wantsW.contains(true) ? x : nil
        return results.recordingTogether([self] + weights) { gradients in
            let pairs = zip(gradients, fixed).compactMap { dy, w in dy.map { (a: $0, w: w) } }
            let dX = wantsX && !pairs.isEmpty ? backend.sumOfProducts(pairs, as: inputType) : nil
            // The gradients of all weights are products with the same input
            let wanted = zip(gradients, wantsW).map { dy, isWanted in isWanted ? dy : nil }
            var dW = keptX.map { backend.productsOfColumns(wanted.compactMap { $0 }, $0) }?.makeIterator()
            return [dX] + wanted.map { $0 == nil ? nil : dW?.next() }
        }
    }
}
