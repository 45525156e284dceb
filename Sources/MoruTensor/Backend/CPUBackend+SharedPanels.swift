import CMoruKernels

extension CPUBackend {
    /// Rows of a tile of the fastest kernels: pieces of C are whole tiles.
    private static let tileRows = 14
    /// Tiles that one thread takes at a time: what the kernels keep in the second-level cache.
    private static let tilesAtOnce = 8
    /// The same where A has whole columns, of which the kernels keep wider blocks.
    private static let columnTilesAtOnce = 16
    /// Fewer tiles of rows than this are few, where there are at least so many columns. A part of them holds at least so
    /// many units: A is packed again for each.
    private static let (fewTiles, manyColumns, leastColumnUnits) = (64, 2048, 8)
    /// Fewer rows than this are not worth packing a weight for all threads.
    static let leastRows = 128
    /// Panels that are cut across the depth of a product hold a multiple of so many elements of k: the steps that the
    /// kernels add up at a time.
    private static let depthUnit = 1024
    /// Bytes of packed weights that all threads read again and again: a part of the last-level cache.
    static let panelBytes = 8 << 20

    /// Computes products of many rows: the threads pack a panel of each weight together, then share the rows, so that
    /// nothing is packed twice. Every row is added up by itself, so no result depends on how the rows are shared.
    ///
    /// - Parameters:
    ///   - sums: For each C, the products that add up in it. They have the same rows; those after the first accumulate.
    ///   - addend: What the first C begins with where its first product accumulates, in its shape and type.
    /// - Returns: Whether the products were computed; if not, they are too small for this.
    func runWithSharedPanels(_ sums: [[moru_gemm]], adding addend: UnsafeRawPointer?) -> Bool {
        guard sums.allSatisfy({ $0[0].m >= Self.leastRows }) else { return false }
        let widest = sums.reduce(0) { max($0, $1[0].n) }
        let bytes = sums.joined().map(packedBytes)
        guard bytes.allSatisfy({ $0 > 0 }), widest > 0 else { return false }
        let panels = max(1, (bytes.reduce(0, +) + Self.panelBytes - 1) / Self.panelBytes)
        if let depth = depthOfPanels(sums, panels) {
            // A is packed once, not for each panel of columns
            let whole = sums[0][0]
            for first in stride(from: 0, to: whole.k, by: depth) {
                let part = self.depth(first..<min(whole.k, first + depth), of: whole)
                runPanel([[part]], adding: first == 0 ? addend.map { ($0, whole.n) } : nil)
            }
            return true
        }
        let columns = ((widest + panels - 1) / panels + 255) / 256 * 256
        for first in stride(from: 0, to: widest, by: columns) {
            let parts = sums.filter { first < $0[0].n }.map { sum in
                sum.map { self.columns(first..<min($0.n, first + columns), of: $0) }
            }
            runPanel(parts, adding: addend.map { ($0 + first * sums[0][0].c_type.byteCount, sums[0][0].n) })
        }
        return true
    }

    /// Elements of k that a panel holds, where a matrix that is far deeper than it is wide is cut across its depth; nil
    /// where panels are of columns. Whole steps of the kernels, so that every sum is added up in the same order.
    private func depthOfPanels(_ sums: [[moru_gemm]], _ panels: Int) -> Int? {
        guard panels > 1, sums.count == 1, sums[0].count == 1 else { return nil }
        let one = sums[0][0]
        guard one.k >= 8 * one.n, one.k % Self.depthUnit == 0, one.c_type == MORU_F32,
            !one.b_transposed, one.packed_b == nil, one.a_column_stride == 1
        else { return nil }
        return ((one.k + panels - 1) / panels + Self.depthUnit - 1) / Self.depthUnit * Self.depthUnit
    }

    /// The part of a product that some elements of k add to C.
    private func depth(_ range: Range<Int>, of product: moru_gemm) -> moru_gemm {
        var part = product
        part.k = range.count
        part.a = product.a + range.lowerBound * product.a_type.byteCount
        part.b = product.b + range.lowerBound * product.b_row_bytes
        if range.lowerBound > 0 { part.accumulate = true }
        return part
    }

    /// The products of one panel of columns, small enough to be packed whole.
    private func runPanel(_ sums: [[moru_gemm]], adding addend: (base: UnsafeRawPointer, rowStride: Int)?) {
        var all = sums
        var packings: [Packing] = []
        var total = 0
        let places = sums.map { sum in
            sum.map { one -> Int? in
                // The last columns may be so few that their kernel wants no packing
                if one.packed_b != nil || packedBytes(of: one) == 0 { return nil }
                if let index = packings.firstIndex(where: { $0.product.hasSameB(as: one) }) { return index }
                packings.append(Packing(product: one, offset: total))
                total += (packedBytes(of: one) + 63) & ~63
                return packings.count - 1
            }
        }
        withScratch(max(1, total)) { packed in
            pack(packings, packed)
            for (i, sum) in places.enumerated() {
                for case (let j, let place?) in sum.enumerated() {
                    all[i][j].packed_b = UnsafeRawPointer(packed + packings[place].offset)
                }
            }
            let scratchBytes = scratchBytes(of: all.joined().map { $0 })
            let fixed = all
            let ofColumns = addend == nil && sums.count == 1 ? piecesOfColumns(sums[0][0]) : nil
            let pieces = ofColumns ?? self.pieces(sums.map { $0[0] })
            threads.run(pieces.count, scratchBytes: scratchBytes) { index, scratch in
                let (matrix, rows, columns) = (pieces[index].matrix, pieces[index].rows, pieces[index].columns)
                if let addend, matrix == 0 { copy(addend, to: fixed[0][0], rows: rows) }
                for var one in fixed[matrix] {
                    kernels.gemm(
                        &one, rows.lowerBound, rows.upperBound, columns.lowerBound, columns.upperBound, scratch)
                }
            }
        }
    }

    /// The part of a product that a thread computes at a time.
    private struct Piece {
        /// The number of the matrix that it is a part of.
        var matrix: Int
        var rows, columns: Range<Int>
    }

    /// Splits the rows of some products into pieces of nearly the same size, so many that the threads finish together;
    /// those of the same rows of all one after the other, since they may read the same.
    private func pieces(_ products: [moru_gemm]) -> [Piece] {
        let wide = products[0].a_column_stride != 1
        let tiles = products.map { ($0.m + Self.tileRows - 1) / Self.tileRows }
        func counts(_ most: Int) -> [Int] { tiles.map { ($0 + most - 1) / most } }
        var counts = counts(wide ? Self.columnTilesAtOnce : Self.tilesAtOnce)
        if wide, counts.reduce(0, +) < threads.threadCount { counts = tiles.map { ($0 + 9) / 10 } }
        if counts.reduce(0, +) < (wide ? 1 : 8) * threads.threadCount { counts = tiles.map { ($0 + 4) / 5 } }
        // One piece more or less for a thread matters where there are few
        if counts.reduce(0, +) < 32 * threads.threadCount {
            for _ in 1..<max(2, threads.threadCount) where counts.reduce(0, +) % threads.threadCount != 0 {
                for index in counts.indices { counts[index] = min(tiles[index], counts[index] + 1) }
            }
        }
        return (0..<(counts.max() ?? 0)).flatMap { piece in
            counts.indices.compactMap { matrix in
                let count = counts[matrix]
                guard piece < count else { return nil }
                let begin = tiles[matrix] * piece / count * Self.tileRows
                let end = min(products[matrix].m, tiles[matrix] * (piece + 1) / count * Self.tileRows)
                return Piece(matrix: matrix, rows: begin..<end, columns: 0..<products[matrix].n)
            }
        }
    }

    /// Splits the columns of a product of few rows, where there are many, so that a thread reads its part of the packed
    /// B only once or twice for all the rows; nil where pieces are of rows.
    private func piecesOfColumns(_ product: moru_gemm) -> [Piece]? {
        let tiles = (product.m + Self.tileRows - 1) / Self.tileRows
        guard tiles < Self.fewTiles, product.n >= Self.manyColumns, product.a_column_stride == 1 else { return nil }
        let wanted = 4 * threads.threadCount
        let units = (product.n + Self.columnUnit - 1) / Self.columnUnit
        let parts = min(wanted, units / Self.leastColumnUnits)
        let blocks = min((wanted + parts - 1) / parts, max(1, tiles / 4))
        return (0..<parts * blocks).map { index in
            let (part, block) = (index / blocks, index % blocks)
            let end = min(product.n, units * (part + 1) / parts * Self.columnUnit)
            let lastRow = min(product.m, tiles * (block + 1) / blocks * Self.tileRows)
            return Piece(
                matrix: 0, rows: tiles * block / blocks * Self.tileRows..<lastRow,
                columns: units * part / parts * Self.columnUnit..<end)
        }
    }

    /// The panels of a quantised matrix, the B of a product of many rows, where they are kept.
    func keptPanels(of b: Tensor, _ product: moru_gemm) -> UnsafeRawPointer? {
        guard b.dtype.isQuantized, product.m >= Self.leastRows, let store = runtime.panels else { return nil }
        let byteCount = packedBytes(of: product)
        guard byteCount > 0 else { return nil }
        return store.panels(of: b, product, byteCount: byteCount) { pack([Packing(product: product, offset: 0)], $0) }
    }

    func packedBytes(of product: moru_gemm) -> Int {
        withUnsafePointer(to: product) { kernels.gemm_packed_bytes($0) }
    }

    /// The same product for some columns of C, which begin at a whole block of B.
    private func columns(_ range: Range<Int>, of product: moru_gemm) -> moru_gemm {
        var part = product
        let (from, type) = (range.lowerBound, product.b_type)
        if let packed = product.packed_b {
            part.n = from
            part.packed_b = packed + packedBytes(of: part)
        }
        part.n = range.count
        let skipped = from / moru_block_elements(type) * moru_block_bytes(type)
        part.b = product.b + (product.b_transposed ? from * product.b_row_bytes : skipped)
        part.c = product.c + from * product.c_type.byteCount
        return part
    }

    /// A B to be packed, as one of the products has it.
    struct Packing {
        var product: moru_gemm
        var offset: Int
    }

    func pack(_ packings: [Packing], _ packed: UnsafeMutableRawPointer) {
        let unit = 128
        let units = packings.map { ($0.product.n + unit - 1) / unit }
        let scratchBytes = scratchBytes(of: packings.map(\.product))
        threads.run(units.reduce(0, +), scratchBytes: scratchBytes) { piece, scratch in
            var index = piece
            var number = 0
            while index >= units[number] { (index, number) = (index - units[number], number + 1) }
            var one = packings[number].product
            kernels.gemm_pack(
                &one, index * unit, min(one.n, (index + 1) * unit), packed + packings[number].offset, scratch)
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
    /// Whether both have the same B, so that it needs packing only once.
    fileprivate func hasSameB(as other: moru_gemm) -> Bool {
        b == other.b && (n, k) == (other.n, other.k) && b_type == other.b_type && b_transposed == other.b_transposed
            && b_row_bytes == other.b_row_bytes && allow_bf16 == other.allow_bf16
    }
}

extension moru_dtype {
    /// Bytes of an element of activations.
    fileprivate var byteCount: Int { self == MORU_BF16 ? 2 : 4 }
}
