extension Tensor {
    /// Several fully connected layers of the same input, `x W^T` for each weight, computed as one.
    ///
    /// Each result equals ``linear(_:alpha:adding:)`` of its weight. The input is prepared once, the threads share all
    /// outputs, and the gradients that reach the input are summed in one product.
    ///
    /// - Parameter weights: [out, in] each, in any dtype; f32 to be trained.
    /// - Returns: [N, out] for each weight.
    public func linear(_ weights: [Tensor]) -> [Tensor] {
        for weight in weights {
            precondition(
                rank == 2 && weight.rank == 2 && shape[1] == weight.shape[1],
                "linear: input \(shape) and weight \(weight.shape) do not fit")
            requireMatrix(weight, "linear")
        }
        let backend = Runtime.shared.backend
        let (x, fixed) = (detached(), weights.map { $0.detached() })
        let results = backend.products(x, fixed)
        let (wantsX, wantsW) = (isTracked, weights.map(\.isTracked))
        guard wantsX || wantsW.contains(true) else { return results }
        // The results leave their gradients with one node, whose own gradient says only that there are some
        let gradients = GroupedGradients(count: weights.count)
        let join = Tensor(0).recording([self] + weights) { _ in
            let parts = gradients.take()
            let pairs = zip(parts, fixed).compactMap { part, w in part.map { (a: $0, w: w) } }
            let dWeights = zip(parts, wantsW).map { part, wanted in
                wanted
                    ? part.map {
                        backend.matmul($0, transposeA: true, x, transposeB: false, alpha: 1, adding: nil)
                    } : nil
            }
            return [wantsX && !pairs.isEmpty ? backend.sumOfProducts(pairs) : nil] + dWeights
        }
        return results.enumerated().map { index, result in
            result.recording(join) { dy in
                gradients.put(dy, at: index)
                return [Tensor(0)]
            }
        }
    }
}

/// The gradients of a group's results, as far as there are any yet.
private final class GroupedGradients {
    private var parts: [Tensor?]

    init(count: Int) { parts = Array(repeating: nil, count: count) }

    func put(_ gradient: Tensor, at index: Int) { parts[index] = gradient }

    /// Hands the gradients over, so that they are freed once they are used.
    func take() -> [Tensor?] {
        defer { parts = [] }
        return parts
    }
}
