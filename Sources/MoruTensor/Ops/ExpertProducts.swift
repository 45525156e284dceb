// The steps of a mixture of experts: rows grouped by expert, fully connected layers of each expert over its rows, and
// the results of a row's experts added up.
extension Tensor {
    /// The rows of this tensor [N, D], f32 or bf16, as often as they have experts and grouped by them: [rows.count, D].
    public func grouped(_ rows: ExpertRows) -> Tensor {
        precondition(rank == 2 && shape[0] == rows.rowCount, "grouped: \(shape) has not \(rows.rowCount) rows")
        let backend = Runtime.shared.backend
        return backend.groupRows(detached(), rows).recording(self) {
            [backend.ungroupRows($0.promoted(), rows, weights: nil)]
        }
    }

    /// What a row's experts made of it, weighted and added up: from grouped rows [rows.count, D] to [N, D], f32.
    ///
    /// - Parameter weights: Of each row's experts, [N, K], as ``routed(_:)`` gives them.
    public func ungrouped(_ rows: ExpertRows, weights: Tensor) -> Tensor {
        precondition(
            rank == 2 && shape[0] == rows.count && weights.shape == [rows.rowCount, rows.expertsPerRow],
            "ungrouped: \(shape) and weights \(weights.shape) do not fit \(rows.count) grouped rows")
        let backend = Runtime.shared.backend
        let (x, factors) = (promoted(), weights.detached())
        let y = x.detached()
        return backend.ungroupRows(y, rows, weights: factors).recording(x, weights) { dy in
            let gradients = backend.ungroupRowsBackward(dy, y, rows, weights: factors)
            return [gradients.x, gradients.weights]
        }
    }

    /// Fully connected layers of experts, each over its own rows of this tensor [rows.count, in]: `x_e W_e^T`.
    ///
    /// Each weight is read once, and the threads share the outputs of all experts.
    ///
    /// - Parameters:
    ///   - weights: Of each layer, the weights [out, in] of `rows.experts`, in any dtype; f32 to be trained.
    ///   - type: The format of the results, f32 or bf16; nil for that of this tensor.
    /// - Returns: [rows.count, out] for each layer.
    public func expertLinear(_ weights: [[Tensor]], _ rows: ExpertRows, as type: DType? = nil) -> [Tensor] {
        precondition(
            rank == 2 && shape[0] == rows.count && rows.count > 0,
            "expertLinear: \(shape) has not \(rows.count) rows, or none")
        for layer in weights {
            precondition(
                layer.count == rows.experts.count
                    && layer.allSatisfy { $0.rank == 2 && $0.shape[1] == shape[1] && $0.shape[0] == layer[0].shape[0] },
                "expertLinear: input \(shape) and weights \(layer.first?.shape ?? []) do not fit")
            for weight in layer { requireMatrix(weight, "expertLinear") }
        }
        let backend = Runtime.shared.backend
        let (x, fixed, groups) = (detached(), weights.map { $0.map { $0.detached() } }, rows.groups)
        let results = backend.expertProducts(x, groups, fixed, as: type ?? dtype)
        let (wantsX, wantsW, inputType) = (isTracked, weights.map { $0.map(\.isTracked) }, dtype)
        // What is not needed for the gradients asked for is not kept
        let keptX = wantsW.joined().contains(true) ? x : nil
        return results.recordingTogether([self] + (keptX == nil ? [] : weights.flatMap { $0 })) { gradients in
            let pairs = zip(gradients, fixed).compactMap { dy, w in dy.map { (a: $0, weights: w) } }
            let dX = wantsX && !pairs.isEmpty ? backend.sumOfExpertProducts(pairs, groups, as: inputType) : nil
            guard let keptX else { return [dX] }
            return [dX]
                + zip(gradients, wantsW).flatMap { dy, wanted in
                    zip(wanted, groups).map { isWanted, group in
                        guard isWanted, let dy else { return nil }
                        return backend.matmul(
                            dy.rows(group), transposeA: true, keptX.rows(group), transposeB: false, alpha: 1,
                            adding: nil)
                    }
                }
        }
    }
}
