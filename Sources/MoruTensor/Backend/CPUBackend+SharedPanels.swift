import CMoruKernels

extension CPUBackend {
    /// Rows of A that one thread takes at a time: what the kernels keep in the second-level cache.
    private static let rowBlock = 112
    /// Fewer rows than this are not worth packing a weight for all threads.
    private static let leastRows = 128
    /// Bytes of packed weights that all threads read again and again: a part of the last-level cache.
    private static let panelBytes = 8 << 20

    /// Computes products of many rows: the threads pack a panel of each weight together, then share the rows, so that
    /// nothing is packed twice. Every row is added up by itself, so no result depends on how the rows are shared.
    ///
    /// - Parameters:
    ///   - sums: For each C, the products that add up in it. All have the same rows; those after the first accumulate.
    ///   - addend: What the first C begins with where its first product accumulates, in its shape and type.
    /// - Returns: Whether the products were computed; if not, they are too small for this.
    func runWithSharedPanels(_ sums: [[moru_gemm]], adding addend: UnsafeRawPointer?) -> Bool {
        guard let m = sums.first?.first?.m, m >= Self.leastRows else { return false }
        let widest = sums.reduce(0) { max($0, $1[0].n) }
        let bytes = sums.joined().reduce(0) { total, one in
            total + withUnsafePointer(to: one) { kernels.gemm_packed_bytes($0) }
        }
        let isPacked = sums.joined().allSatisfy { one in
            withUnsafePointer(to: one) { kernels.gemm_packed_bytes($0) > 0 }
        }
        guard isPacked, widest > 0 else { return false }
        let panels = max(1, (bytes + Self.panelBytes - 1) / Self.panelBytes)
        let columns = ((widest + panels - 1) / panels + 255) / 256 * 256
        for first in stride(from: 0, to: widest, by: columns) {
            let parts = sums.filter { first < $0[0].n }.map { sum in
                sum.map { $0.columns(first..<min($0.n, first + columns)) }
            }
            runPanel(parts, rows: m, adding: addend.map { ($0 + first * sums[0][0].c_type.byteCount, sums[0][0].n) })
        }
        return true
    }

    /// The products of one panel of columns, small enough to be packed whole.
    private func runPanel(
        _ sums: [[moru_gemm]], rows m: Int, adding addend: (base: UnsafeRawPointer, rowStride: Int)?
    ) {
        var all = sums
        var offsets: [[Int]] = []
        var total = 0
        for sum in sums {
            offsets.append([])
            for one in sum {
                offsets[offsets.count - 1].append(total)
                total += (withUnsafePointer(to: one) { kernels.gemm_packed_bytes($0) } + 63) & ~63
            }
        }
        withScratch(max(1, total)) { packed in
            pack(sums.joined().map { $0 }, offsets.joined().map { $0 }, packed)
            for (i, sum) in sums.enumerated() {
                for (j, one) in sum.enumerated() where withUnsafePointer(to: one, { kernels.gemm_packed_bytes($0) }) > 0
                {
                    all[i][j].packed_b = UnsafeRawPointer(packed + offsets[i][j])
                }
            }
            let isFew = (m + Self.rowBlock - 1) / Self.rowBlock * sums.count < 8 * threads.threadCount
            let block = isFew ? Self.rowBlock / 2 : Self.rowBlock
            let scratchBytes = scratchBytes(of: all.joined().map { $0 })
            let fixed = all
            threads.run((m + block - 1) / block * sums.count, scratchBytes: scratchBytes) { piece, scratch in
                let rows = piece / sums.count * block..<min(m, (piece / sums.count + 1) * block)
                let sum = fixed[piece % sums.count]
                if let addend, piece % sums.count == 0 { copy(addend, to: sum[0], rows: rows) }
                for var one in sum { kernels.gemm(&one, rows.lowerBound, rows.upperBound, 0, one.n, scratch) }
            }
        }
    }

    private func pack(_ products: [moru_gemm], _ offsets: [Int], _ packed: UnsafeMutableRawPointer) {
        let unit = 128
        let units = products.map { ($0.n + unit - 1) / unit }
        let fixed = Array(zip(products, offsets))
        threads.run(units.reduce(0, +), scratchBytes: scratchBytes(of: products)) { piece, scratch in
            var index = piece
            var product = 0
            while index >= units[product] { (index, product) = (index - units[product], product + 1) }
            var (one, offset) = fixed[product]
            guard kernels.gemm_packed_bytes(&one) > 0 else { return }
            kernels.gemm_pack(&one, index * unit, min(one.n, (index + 1) * unit), packed + offset, scratch)
        }
    }

    private func copy(_ addend: (base: UnsafeRawPointer, rowStride: Int), to one: moru_gemm, rows: Range<Int>) {
        let size = one.c_type.byteCount
        for row in rows {
            (one.c + row * one.c_row_stride * size).copyMemory(
                from: addend.base + row * addend.rowStride * size, byteCount: one.n * size)
        }
    }

    /// The most scratch that any of these products takes.
    func scratchBytes(of all: [moru_gemm]) -> Int {
        all.reduce(1) { most, one in max(most, withUnsafePointer(to: one) { kernels.gemm_scratch_bytes($0) }) }
    }
}

extension moru_gemm {
    /// The same product for some columns of C, which begin at a whole block of B.
    fileprivate func columns(_ range: Range<Int>) -> moru_gemm {
        var part = self
        part.n = range.count
        let skipped = range.lowerBound / moru_block_elements(b_type) * moru_block_bytes(b_type)
        part.b = b + (b_transposed ? range.lowerBound * b_row_bytes : skipped)
        part.c = c + range.lowerBound * c_type.byteCount
        return part
    }
}

extension moru_dtype {
    /// Bytes of an element of activations.
    fileprivate var byteCount: Int { self == MORU_BF16 ? 2 : 4 }
}
