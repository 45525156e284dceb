import CMoruKernels

/// The output projection on the CPU.
///
/// Rows of logits are not a multiple of a page apart, as those of most vocabularies would be: a tile writes several rows,
/// which then would drive each other out of the caches. What is packed of a small weight is kept for the rows that follow.
final class CPUOutputPass: OutputPass {
    private let backend: CPUBackend
    private let weight: Tensor
    /// Whether panels are kept, and those that are, by whether the product is with the transposed weight.
    private let keepsPanels: Bool
    private var panels: [Bool: Tensor] = [:]

    private var columns: Int { weight.shape[0] }

    /// - Parameter isRepeated: Whether it is used for several groups of rows.
    init(_ backend: CPUBackend, weight: Tensor, isRepeated: Bool) {
        (self.backend, self.weight) = (backend, weight)
        let bytes = 2 * weight.count * MemoryLayout<UInt16>.stride
        keepsPanels = isRepeated && weight.dtype == .f32 && backend.runtime.allowsBF16 && bytes <= CPUBackend.panelBytes
    }

    func logits(_ rows: Tensor) -> Tensor {
        guard backend.packedWay(rows.shape[0], weight) == nil else {
            return backend.matmul(rows, transposeA: false, weight, transposeB: true, alpha: 1, adding: nil)
        }
        let pageElements = 4096 / MemoryLayout<Float>.stride
        let stride = columns % pageElements == 0 ? columns + CPUBackend.columnUnit : columns
        let result = Tensor(uninitialized: [rows.shape[0], stride])
        var product = backend.arguments(rows, weight, transposeB: true, result)
        usePanels(for: &product)
        withExtendedLifetime(rows) { backend.run([product], adding: nil) }
        return result
    }

    func crossEntropy(_ logits: inout Tensor, targets: [Int32], wantsGradient: Bool) -> Tensor {
        backend.crossEntropy(&logits, columns: columns, targets: targets, scale: 1, wantsGradient: wantsGradient)
    }

    func writeRowGradient(_ gradient: Tensor, to result: Tensor) {
        var product = backend.arguments(gradient, weight, transposeB: false, result)
        usePanels(for: &product)
        withExtendedLifetime((gradient, result)) { backend.run([product], adding: nil) }
    }

    func addWeightGradient(_ gradient: Tensor, _ rows: Tensor, to sum: inout Tensor?) {
        sum?.makeUnique()
        let result = sum ?? Tensor(uninitialized: weight.shape)
        var product = backend.arguments(gradient, rows, transposeB: false, result)
        (product.a_row_stride, product.a_column_stride) = (1, gradient.shape[1])
        product.accumulate = sum != nil
        withExtendedLifetime((gradient, rows, result)) { backend.run([product], adding: nil) }
        sum = result
    }

    /// Lets a product with the weight use panels that are kept, packing them the first time.
    private func usePanels(for product: inout moru_gemm) {
        guard keepsPanels, product.m >= CPUBackend.leastRows else { return }
        let byteCount = backend.packedBytes(of: product)
        guard byteCount > 0 else { return }
        if panels[product.b_transposed] == nil {
            let packed = Tensor(uninitialized: [byteCount / MemoryLayout<Float>.stride])
            backend.pack([CPUBackend.Packing(product: product, offset: 0)], UnsafeMutableRawPointer(packed.floats))
            panels[product.b_transposed] = packed
        }
        product.packed_b = panels[product.b_transposed].map { UnsafeRawPointer($0.floats) }
    }
}
