/// A low-rank update of a fully connected layer (Hu et al., 2021): `scale * (x A^T) B^T`.
public struct LowRankUpdate: Sendable {
    /// [rank, in], f32.
    public let a: Tensor
    /// [out, rank], f32.
    public let b: Tensor
    /// What the update is multiplied by.
    public let scale: Float

    /// Makes an update.
    public init(a: Tensor, b: Tensor, scale: Float) {
        precondition(
            a.rank == 2 && b.rank == 2 && a.shape[0] == b.shape[1] && a.dtype == .f32 && b.dtype == .f32,
            "an update by \(a.dtype)\(a.shape) and \(b.dtype)\(b.shape) has no rank")
        (self.a, self.b, self.scale) = (a, b, scale)
    }
}

extension Tensor {
    /// Several fully connected layers of the same input, `x W^T` for each weight, computed as one.
    ///
    /// Each result equals ``linear(_:alpha:adding:as:)`` of its weight. The input is prepared once, the threads share all
    /// outputs, and the gradients that reach the input are summed in one product.
    ///
    /// - Parameters:
    ///   - weights: [out, in] each, in any dtype; f32 to be trained.
    ///   - updates: A low-rank update of each, added before the result takes its format, or nil; empty for none.
    ///   - type: The format of the results, f32 or bf16; nil for that of the input.
    /// - Returns: [N, out] for each weight.
    public func linear(
        _ weights: [Tensor], updates: [LowRankUpdate?] = [], as type: DType? = nil
    ) -> [Tensor] {
        let updates = updates.isEmpty ? weights.map { _ in nil } : updates
        precondition(updates.count == weights.count, "linear: \(updates.count) updates of \(weights.count) weights")
        for (weight, update) in zip(weights, updates) {
            precondition(
                rank == 2 && weight.rank == 2 && shape[1] == weight.shape[1],
                "linear: input \(shape) and weight \(weight.shape) do not fit")
            requireMatrix(weight, "linear")
            precondition(
                update.map { [$0.b.shape[0], $0.a.shape[1]] == weight.shape } ?? true,
                "linear: an update by \(update?.a.shape ?? []) and \(update?.b.shape ?? []) does not fit \(weight.shape)"
            )
        }
        let backend = Runtime.shared.backend
        let (x, fixed) = (detached(), weights.map { $0.detached() })
        let factors = updates.map { $0.map { LowRankUpdate(a: $0.a.detached(), b: $0.b.detached(), scale: $0.scale) } }
        let inner = backend.innerProducts(x, factors)
        let outer = zip(factors, inner).map { update, inner in
            update.flatMap { update in inner.map { OuterUpdate(inner: $0, b: update.b, scale: update.scale) } }
        }
        let results = backend.products(x, fixed, outer, as: type ?? dtype)
        let (wantsX, wantsW, inputType) = (isTracked, weights.map(\.isTracked), dtype)
        let (wantsA, wantsB) = (updates.map { $0?.a.isTracked ?? false }, updates.map { $0?.b.isTracked ?? false })
        // What is not needed for the gradients asked for is not kept
        let keptX = wantsW.contains(true) || wantsA.contains(true) ? KeptTensor(self) : nil
        let keptInner = zip(outer, wantsB).map { $1 ? $0?.inner : nil }
        let inputs = [self] + weights + updates.flatMap { [$0?.a, $0?.b] }.map { $0 ?? Tensor(0) }
        return results.recordingTogether(inputs) { gradients in
            // Of the inner products
            let dInner = zip(gradients, factors).map { dy, update -> Tensor? in
                guard let dy, let update else { return nil }
                return backend.matmul(
                    dy, transposeA: false, update.b, transposeB: false, alpha: update.scale, adding: nil)
            }
            let own = zip(gradients, fixed).map { dy, w in dy.map { (a: $0, w: w) } }
            let updating = zip(dInner, factors).map { d, update in d.flatMap { d in update.map { (a: d, w: $0.a) } } }
            let pairs = (own + updating).compactMap { $0 }
            let dX = wantsX && !pairs.isEmpty ? backend.sumOfProducts(pairs, as: inputType) : nil
            // The gradients of weights, and of all first factors, are products with the same input
            let wanted = zip(gradients + dInner, wantsW + wantsA).map { dy, isWanted in isWanted ? dy : nil }
            var columns = keptX.map { backend.productsOfColumns(wanted.compactMap { $0 }, $0.tensor) }?.makeIterator()
            let found = wanted.map { $0 == nil ? nil : columns?.next() }
            let dB = zip(zip(gradients, keptInner), factors).map { pair, update -> Tensor? in
                guard let dy = pair.0, let inner = pair.1, let update else { return nil }
                return backend.matmul(
                    dy, transposeA: true, inner, transposeB: false, alpha: update.scale, adding: nil)
            }
            return [dX] + found.prefix(weights.count) + zip(found.dropFirst(weights.count), dB).flatMap { [$0, $1] }
        }
    }
}

extension Backend {
    /// `x a^T` [m, rank] of each update, in f32.
    fileprivate func innerProducts(_ x: Tensor, _ updates: [LowRankUpdate?]) -> [Tensor?] {
        let present = updates.compactMap { $0?.a }
        guard !present.isEmpty else { return updates.map { _ in nil } }
        var inner = products(x, present, present.map { _ in nil }, as: .f32).makeIterator()
        return updates.map { $0 == nil ? nil : inner.next() }
    }
}
