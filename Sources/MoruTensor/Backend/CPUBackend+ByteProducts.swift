import CMoruKernels

/// A low-rank update of a product, of which the inner product is known: `scale * inner b^T`.
public struct OuterUpdate {
    /// [rows, rank], f32.
    let inner: Tensor
    /// [outputs, rank], f32.
    let b: Tensor
    let scale: Float
}

// Products of many rows with quantised weights, which take the rows rounded to bytes.
extension CPUBackend {
    /// Columns of a result that a thread computes at a time.
    private static let byteColumns = 64
    /// Bytes of rounded rows that stay in the second-level cache while weights pass.
    private static let roundedBytes = 384 << 10
    /// The largest rank of updates that are added to a product while it is computed: with more, a pass of their own costs
    /// less than multiplying row by row.
    static let mostRanksAtOnce = 64

    /// The products of rows [m, k], f32 or bf16, with quantised weights [n_i, k], and their low-rank updates.
    ///
    /// The rows are rounded once. The threads take pieces of rows and columns, so small that what they have just written
    /// is still at hand when it is updated and, for a result in bf16, rounded. Every element is computed by itself: the
    /// pieces change no result.
    func byteProducts(
        _ x: Tensor, _ weights: [Tensor], _ way: PackedWay, _ updates: [OuterUpdate?], as type: DType
    ) -> [Tensor] {
        let (rows, k) = (x.shape[0], x.shape[1])
        let results = weights.map { Tensor(uninitialized: [rows, $0.shape[0]], dtype: type) }
        let forms = weights.map { $0.storage.packedForms.form(of: $0, threads: threads) }
        let factors = updates.map { $0.map(Self.panels) }
        let rowBytes = FewRowsInput.roundedRowBytes(k)
        withScratch(rows * rowBytes) { rounded in
            round(x, way, to: rounded, rowBytes: rowBytes)
            let products = weights.indices.map { index -> ByteProduct in
                var arguments = moru_packed_product()
                (arguments.n, arguments.k) = (weights[index].shape[0], k)
                (arguments.w, arguments.w_type) = (forms[index].bytes, weights[index].dtype.kernelType!)
                (arguments.x, arguments.x_row_bytes) = (UnsafeRawPointer(rounded), rowBytes)
                arguments.closely = way == .close
                var update: moru_low_rank?
                if let own = updates[index], let panels = factors[index] { update = self.arguments(of: own, panels) }
                return ByteProduct(
                    product: arguments, update: update,
                    result: UnsafeMutableRawPointer(mutating: results[index].bytes), isNarrow: type == .bf16)
            }
            run(products, rows: rows)
        }
        return withExtendedLifetime((x, weights, forms, updates, factors)) { results }
    }

    private func round(_ x: Tensor, _ way: PackedWay, to rounded: UnsafeMutableRawPointer, rowBytes: Int) {
        let (rows, k) = (x.shape[0], x.shape[1])
        let minimum = max(1, Self.grain / k)
        threads.forRanges(
            rows, minimum: minimum, partsPerThread: 4, scratchBytes: k * MemoryLayout<Float>.size
        ) { range, scratch in
            let wide = scratch.assumingMemoryBound(to: Float.self)
            for row in range {
                let out = rounded + row * rowBytes
                if x.dtype == .f32 {
                    kernels.round_row(x.floats + row * k, k, way == .close, out, 0, k)
                } else {
                    kernels.dequantize(x.dtype.kernelType!, x.bytes + row * k * x.dtype.blockBytes, wide, k)
                    kernels.round_row(wide, k, way == .close, out, 0, k)
                }
            }
        }
    }

    /// The second factor of an update, in panels.
    private static func panels(of update: OuterUpdate) -> Storage {
        let (outputs, rank) = (update.b.shape[0], update.b.shape[1])
        let panels = Storage(byteCount: moru_low_rank_bytes(MORU_F32, rank, outputs))
        moru_low_rank_pack(MORU_F32, update.b.floats, rank, outputs, 1, rank, panels.base)
        return panels
    }

    private func arguments(of update: OuterUpdate, _ panels: Storage) -> moru_low_rank {
        var arguments = moru_low_rank()
        (arguments.rank, arguments.n, arguments.scale) = (update.b.shape[1], update.b.shape[0], update.scale)
        (arguments.b, arguments.type) = (UnsafeRawPointer(panels.base), MORU_F32)
        arguments.inner = update.inner.floats
        return arguments
    }

    /// One of some products of the same rows.
    private struct ByteProduct {
        /// Of all rows; what it writes to is not said.
        var product: moru_packed_product
        /// Likewise.
        var update: moru_low_rank?
        var result: UnsafeMutableRawPointer
        var isNarrow: Bool
    }

    private func run(_ products: [ByteProduct], rows: Int) {
        let unit = Self.byteColumns
        let units = products.map { ($0.product.n + unit - 1) / unit }
        let total = units.reduce(0, +)
        // Rows at a time, in even parts
        let most = max(1, Self.roundedBytes / max(1, products.first?.product.x_row_bytes ?? 1))
        let parts = max(1, (rows + most - 1) / most)
        let rowsAtOnce = (rows + parts - 1) / parts
        let needsScratch = products.contains { $0.isNarrow }
        let scratchBytes = needsScratch ? rowsAtOnce * unit * MemoryLayout<Float>.size : 1
        guard total > 0 else { return }
        threads.run(parts * total, scratchBytes: scratchBytes) { piece, scratch in
            let begin = piece / total * rowsAtOnce
            var (number, part) = (0, piece % total)
            while part >= units[number] { (number, part) = (number + 1, part - units[number]) }
            let columns = part * unit..<min(products[number].product.n, (part + 1) * unit)
            compute(products[number], begin..<min(rows, begin + rowsAtOnce), columns, scratch)
        }
    }

    /// Some rows and columns of a product.
    private func compute(
        _ one: ByteProduct, _ rows: Range<Int>, _ columns: Range<Int>, _ scratch: UnsafeMutableRawPointer
    ) {
        guard !rows.isEmpty else { return }
        var product = one.product
        let (n, at) = (product.n, rows.lowerBound * product.n + columns.lowerBound)
        product.rows = rows.count
        product.n = columns.count
        product.w += moru_packed_bytes(product.w_type, columns.lowerBound, product.k)
        product.x += rows.lowerBound * product.x_row_bytes
        // The columns that follow are the next piece
        product.next = product.w + moru_packed_bytes(product.w_type, columns.count, product.k)
        product.next_bytes = moru_packed_bytes(
            product.w_type, min(n - columns.upperBound, FewRowsWeight.unit), product.k)
        let sums = (one.isNarrow ? scratch : one.result + at * MemoryLayout<Float>.size)
            .assumingMemoryBound(to: Float.self)
        (product.y, product.y_row_stride) = (sums, one.isNarrow ? columns.count : n)
        kernels.packed_product(&product, 0, columns.count)
        if var update = one.update {
            update.b += moru_low_rank_bytes(update.type, update.rank, columns.lowerBound)
            update.inner += rows.lowerBound * update.rank
            (update.rows, update.n) = (rows.count, columns.count)
            (update.y, update.y_row_stride) = (sums, product.y_row_stride)
            runtime.lowRank.outer(&update, 0, columns.count)
        }
        guard one.isNarrow else { return }
        var narrowing = moru_biased_activation()
        (narrowing.function, narrowing.dim) = (MORU_IDENTITY, columns.count)
        (narrowing.x, narrowing.x_row_stride) = (UnsafePointer(sums), columns.count)
        (narrowing.y, narrowing.y_row_stride) = (one.result + at * MemoryLayout<UInt16>.size, n)
        narrowing.y_type = MORU_BF16
        kernels.biased_activation(&narrowing, 0, rows.count)
    }
}
