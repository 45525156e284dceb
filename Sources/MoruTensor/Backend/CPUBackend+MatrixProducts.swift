import CMoruKernels

extension CPUBackend {
    func matmul(
        _ a: Tensor, transposeA: Bool, _ b: Tensor, transposeB: Bool, alpha: Float, adding addend: Tensor?,
        as type: DType
    ) -> Tensor {
        let (m, k) = transposeA ? (a.shape[1], a.shape[0]) : (a.shape[0], a.shape[1])
        let n = transposeB ? b.shape[0] : b.shape[1]
        if transposeB, !transposeA, let way = packedWay(m, b) {
            if addend == nil, alpha == 1 { return roundedProducts(a, [b], [nil], way, as: type)[0] }
            let product = roundedProducts(a, [b], [nil], way, as: .f32)[0]
            guard let addend else { return scale(product, by: alpha).converted(to: type) }
            let sum = addend.dtype == .f32 ? addend.copied() : addend.converted(to: .f32)
            forElements(m * n) { kernels.add_scaled(product.floats, alpha, sum.floats, $0, $1) }
            return sum.converted(to: type)
        }
        let c = Tensor(uninitialized: [m, n], dtype: type)
        var product = arguments(a, b, transposeB: transposeB, c)
        product.k = k
        product.a_row_stride = transposeA ? 1 : k
        product.a_column_stride = transposeA ? m : 1
        product.alpha = alpha
        product.accumulate = addend != nil
        withExtendedLifetime((a, b, addend)) { run([product], adding: addend?.bytes) }
        return c
    }

    func addProduct(_ a: Tensor, transposeA: Bool, _ b: Tensor, to sum: inout Tensor?) {
        let (m, k) = transposeA ? (a.shape[1], a.shape[0]) : (a.shape[0], a.shape[1])
        let accumulates = sum != nil
        if accumulates { sum?.makeUnique() }
        let c = sum ?? Tensor(uninitialized: [m, b.shape[1]])
        var product = arguments(a, b, transposeB: false, c)
        product.k = k
        product.a_row_stride = transposeA ? 1 : k
        product.a_column_stride = transposeA ? m : 1
        product.accumulate = accumulates
        withExtendedLifetime((a, b)) { run([product], adding: nil) }
        sum = c
    }

    func productsOfColumns(_ all: [Tensor], _ b: Tensor) -> [Tensor] {
        let results = all.map { Tensor(uninitialized: [$0.shape[1], b.shape[1]]) }
        let products = zip(all, results).map { a, c in
            var product = arguments(a, b, transposeB: false, c)
            (product.k, product.a_row_stride, product.a_column_stride) = (a.shape[0], 1, a.shape[1])
            return product
        }
        withExtendedLifetime((all, b)) {
            if runWithSharedPanels(products.map { [$0] }, adding: nil) { return }
            for one in products { run([one], adding: nil) }
        }
        return results
    }

    func products(_ x: Tensor, _ weights: [Tensor], _ updates: [OuterUpdate?], as type: DType) -> [Tensor] {
        let ways = weights.map { packedWay(x.shape[0], $0) }
        let isRounded = ways.allSatisfy { $0 != nil && $0 == ways[0] }
        let isUpdated = updates.contains { $0 != nil }
        if isUpdated,
            !isRounded || !updates.allSatisfy({ $0?.b.shape[1] ?? 0 <= Self.mostRanksAtOnce })
                || runtime.goAsFewRows(x.shape[0])
        {
            let plain = products(x, weights, updates.map { _ in nil }, as: .f32)
            return zip(plain, updates).map { product, update in
                guard let update else { return product.converted(to: type) }
                return matmul(
                    update.inner, transposeA: false, update.b, transposeB: true, alpha: update.scale, adding: product,
                    as: .f32
                ).converted(to: type)
            }
        }
        if isRounded, let way = ways.first ?? nil { return roundedProducts(x, weights, updates, way, as: type) }
        if ways.contains(where: { $0 != nil }) {
            return weights.map {
                matmul(x, transposeA: false, $0, transposeB: true, alpha: 1, adding: nil, as: type)
            }
        }
        let results = weights.map { Tensor(uninitialized: [x.shape[0], $0.shape[0]], dtype: type) }
        let all = zip(weights, results).map { arguments(x, $0, transposeB: true, $1) }
        withExtendedLifetime((x, weights)) { runTogether(all) }
        return results
    }

    /// Products that all go one way; updates only of many rows.
    private func roundedProducts(
        _ x: Tensor, _ weights: [Tensor], _ updates: [OuterUpdate?], _ way: PackedWay, as type: DType
    ) -> [Tensor] {
        if !runtime.goAsFewRows(x.shape[0]), x.shape[1] > 0 {
            return byteProducts(x, weights, way, updates, as: type)
        }
        return packedProducts(x.converted(to: .f32), weights, way).map { $0.converted(to: type) }
    }

    /// How the product of so many rows with a weight is computed row by row; nil where it is computed in blocks of rows.
    func packedWay(_ rows: Int, _ weight: Tensor) -> PackedWay? {
        if runtime.goAsFewRows(rows) { return .plain }
        guard isPackable(weight) else { return nil }
        return runtime.precision == .int8 ? .plain : runtime.takesBytesForManyRows ? .close : nil
    }

    func sumOfProducts(_ pairs: [(a: Tensor, w: Tensor)], as type: DType) -> Tensor {
        // Several products are added up in f32
        let c = Tensor(
            uninitialized: [pairs[0].a.shape[0], pairs[0].w.shape[1]], dtype: pairs.count > 1 ? .f32 : type)
        var all = pairs.map { arguments($0.a, $0.w, transposeB: false, c) }
        for index in all.indices.dropFirst() { all[index].accumulate = true }
        withExtendedLifetime(pairs) { run(all, adding: nil) }
        return c
    }

    /// The product of rows [m, k] with a matrix, written to `c`; rows of either may be longer than that.
    func arguments(_ a: Tensor, _ b: Tensor, transposeB: Bool, _ c: Tensor) -> moru_gemm {
        var arguments = moru_gemm()
        arguments.m = c.shape[0]
        (arguments.n, arguments.k) = transposeB ? (b.shape[0], b.shape[1]) : (b.shape[1], b.shape[0])
        arguments.a = a.bytes
        arguments.a_type = a.dtype.kernelType!
        arguments.a_row_stride = a.shape[1]
        arguments.a_column_stride = 1
        arguments.b = b.bytes
        arguments.b_type = b.dtype.kernelType!
        arguments.b_row_bytes = b.dtype.byteCount(of: b.shape[1])!
        arguments.b_transposed = transposeB
        arguments.c = UnsafeMutableRawPointer(mutating: c.bytes)
        arguments.c_type = c.dtype.kernelType!
        arguments.c_row_stride = c.shape[1]
        arguments.alpha = 1
        arguments.allow_bf16 = runtime.allowsBF16
        arguments.packed_b = keptPanels(of: b, arguments)
        return arguments
    }

    static let columnUnit = 64

    /// Computes products that add up in one C. Where they are small, the larger side of C is split, so that each thread
    /// packs its own part of the operands, and first fills its own part of C with what is added to.
    func run(_ all: [moru_gemm], adding addend: UnsafeRawPointer?) {
        let (m, n) = (all[0].m, all[0].n)
        guard m > 0, n > 0, !runWithSharedPanels([all], adding: addend) else { return }
        let scratchBytes = scratchBytes(of: all)
        let work = all.reduce(0) { $0 + m * n * max(1, $1.k) }
        let parts = work < 1 << 16 ? 1 : threads.threadCount
        let unit = Self.columnUnit
        let splitsColumns = n >= m
        let length = splitsColumns ? n : m
        let units = (length + unit - 1) / unit
        let pieces = min(parts, units)
        threads.run(pieces, scratchBytes: scratchBytes) { piece, scratch in
            let begin = units * piece / pieces * unit
            let end = min(length, units * (piece + 1) / pieces * unit)
            let (rows, columns) = splitsColumns ? (0..<m, begin..<end) : (begin..<end, 0..<n)
            if let addend {
                let size = all[0].c_type == MORU_BF16 ? 2 : 4
                for row in rows {
                    let offset = (row * n + columns.lowerBound) * size
                    (all[0].c + offset).copyMemory(from: addend + offset, byteCount: columns.count * size)
                }
            }
            for var one in all {
                kernels.gemm(&one, rows.lowerBound, rows.upperBound, columns.lowerBound, columns.upperBound, scratch)
            }
        }
    }

    /// Computes products of the same rows, each with a C of its own; the threads share the columns of all.
    private func runTogether(_ all: [moru_gemm]) {
        guard !runWithSharedPanels(all.map { [$0] }, adding: nil) else { return }
        let unit = Self.columnUnit
        let units = all.map { ($0.n + unit - 1) / unit }
        let total = units.reduce(0, +)
        guard total >= threads.threadCount else {
            for one in all { run([one], adding: nil) }
            return
        }
        let minimum = (1 << 16) / max(1, all[0].m * all[0].k * unit)
        threads.forRanges(total, minimum: minimum, scratchBytes: scratchBytes(of: all)) { range, scratch in
            var start = 0
            for (var one, count) in zip(all, units) {
                let part = range.clamped(to: start..<start + count)
                let end = min(one.n, (part.upperBound - start) * unit)
                if !part.isEmpty { kernels.gemm(&one, 0, one.m, (part.lowerBound - start) * unit, end, scratch) }
                start += count
            }
        }
    }

    func gatherRows(_ table: Tensor, _ ids: [Int32]) -> Tensor {
        let dim = table.shape[1]
        let rowBytes = table.dtype.byteCount(of: dim)!
        let y = Tensor(uninitialized: [ids.count, dim])
        forRows(ids.count, dim: dim) { begin, end in
            for row in begin..<end {
                let source = table.bytes + Int(ids[row]) * rowBytes
                kernels.dequantize(table.dtype.kernelType!, source, y.floats + row * dim, dim)
            }
        }
        return y
    }
}
