import CMoruKernels

extension CPUEncoderPass {
    /// A fully connected layer, its weight in the form that products read.
    struct Product {
        /// [outputs, inputs]; nil once it is packed.
        var weight: Tensor?
        let bias: Tensor?
        let outputs, inputs: Int
        let dtype: DType
        var packedOffset: Int?

        init(weight: Tensor, bias: Tensor?) {
            (self.weight, self.bias, dtype) = (weight, bias, weight.dtype)
            (outputs, inputs) = (weight.shape[0], weight.shape[1])
        }
    }

    /// Projections of the same input as one.
    static func joined(_ parts: [DecoderLayer.Projection]) -> Product {
        let isUniform = Set(parts.map(\.weight.dtype)).count == 1
        let weights = isUniform ? parts.map(\.weight) : parts.map { $0.weight.converted(to: .f32) }
        let biases = parts.map { $0.bias ?? Tensor.zeros([$0.weight.shape[0]]) }
        return Product(
            weight: Tensor.concatenated(weights),
            bias: parts.contains { $0.bias != nil } ? Tensor.concatenated(biases) : nil)
    }

    private static var products: [WritableKeyPath<Layer, Product>] { [\.queryKeyValue, \.output, \.up, \.down] }

    /// Packs every weight into one piece of memory.
    func pack() {
        var total = 0
        for index in layers.indices {
            for path in Self.products {
                let bytes = packedBytes(of: layers[index][keyPath: path])
                guard bytes > 0 else { continue }
                layers[index][keyPath: path].packedOffset = total
                total += (bytes + 63) & ~63
            }
        }
        guard total > 0 else { return }
        let storage = Storage(byteCount: total)
        let all = layers.flatMap { layer in Self.products.map { layer[keyPath: $0] } }.filter { $0.packedOffset != nil }
        let unit = usesBytes ? 2 * Int(MORU_BYTE_COLUMNS) : 128
        let pieces = all.enumerated().flatMap { index, product in
            stride(from: 0, to: product.outputs, by: unit).map { (index, $0..<min(product.outputs, $0 + unit)) }
        }
        backend.threads.run(pieces.count) { piece in
            let (index, columns) = pieces[piece]
            pack(all[index], columns, into: storage.base + (all[index].packedOffset ?? 0))
        }
        packed = storage
        for index in layers.indices {
            for path in Self.products where layers[index][keyPath: path].packedOffset != nil {
                layers[index][keyPath: path].weight = nil
            }
        }
    }

    private func packedBytes(of product: Product) -> Int {
        if usesBytes { return moru_byte_packed_bytes(product.outputs, product.inputs) }
        var gemm = arguments(product, (nil, .f32), rows: Self.groupRows)
        return kernels.gemm_packed_bytes(&gemm)
    }

    private func pack(_ product: Product, _ columns: Range<Int>, into memory: UnsafeMutableRawPointer) {
        var gemm = arguments(product, (nil, .f32), rows: Self.groupRows)
        let scratchBytes = usesBytes ? gemm.k * MemoryLayout<Float>.stride : kernels.gemm_scratch_bytes(&gemm)
        withScratch(max(1, scratchBytes)) { scratch in
            if usesBytes {
                moru_byte_pack(
                    gemm.b_type, gemm.b, gemm.b_row_bytes, gemm.n, gemm.k, memory, columns.lowerBound,
                    columns.upperBound, scratch.assumingMemoryBound(to: Float.self))
            } else {
                kernels.gemm_pack(&gemm, columns.lowerBound, columns.upperBound, memory, scratch)
            }
        }
    }

    private func arguments(
        _ product: Product, _ input: (rows: UnsafeRawPointer?, type: DType), rows: Int
    ) -> moru_gemm {
        var gemm = moru_gemm()
        (gemm.m, gemm.n, gemm.k) = (rows, product.outputs, product.inputs)
        (gemm.a, gemm.a_type) = (input.rows, input.type.kernelType!)
        (gemm.a_row_stride, gemm.a_column_stride) = (product.inputs, 1)
        gemm.b = product.weight?.bytes
        gemm.b_type = product.dtype.kernelType!
        gemm.b_row_bytes = product.dtype.byteCount(of: product.inputs)!
        gemm.b_transposed = true
        gemm.c_type = MORU_F32
        gemm.alpha = 1
        gemm.allow_bf16 = allowsBF16
        gemm.packed_b = packedWeight(of: product)
        return gemm
    }

    private func packedWeight(of product: Product) -> UnsafeRawPointer? {
        guard let offset = product.packedOffset, let packed else { return nil }
        return UnsafeRawPointer(packed.base + offset)
    }

    /// Writes `columns` of `input W^T` to rows of all the outputs, or adds them to what is there.
    func multiply(
        _ product: Product, _ input: (rows: UnsafeMutableRawPointer, type: DType), _ rows: Int, _ columns: Range<Int>,
        to sums: UnsafeMutablePointer<Float>, accumulates: Bool = false
    ) {
        guard usesBytes else {
            var gemm = arguments(product, (UnsafeRawPointer(input.rows), input.type), rows: rows)
            (gemm.c, gemm.c_row_stride) = (UnsafeMutableRawPointer(sums), product.outputs)
            gemm.accumulate = accumulates
            return withScratch(max(1, kernels.gemm_scratch_bytes(&gemm))) { scratch in
                kernels.gemm(&gemm, 0, rows, columns.lowerBound, columns.upperBound, scratch)
            }
        }
        withScratch(rows * moru_byte_row_bytes(product.inputs)) { rounded in
            byteKernels.rows(input.type.kernelType!, input.rows, product.inputs, product.inputs, rounded, 0, rows)
            var bytes = moru_byte_product()
            (bytes.n, bytes.k) = (product.outputs, product.inputs)
            (bytes.a, bytes.b) = (UnsafeRawPointer(rounded), packedWeight(of: product))
            (bytes.c, bytes.c_row_stride, bytes.accumulate) = (sums, product.outputs, accumulates)
            byteKernels.product(&bytes, 0, rows, columns.lowerBound, columns.upperBound)
        }
    }
}
