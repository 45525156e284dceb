import CMoruKernels

extension CPUBackend {
    func matmul(
        _ a: Tensor, transposeA: Bool, _ b: Tensor, transposeB: Bool, alpha: Float, adding addend: Tensor?
    ) -> Tensor {
        let (m, k) = transposeA ? (a.shape[1], a.shape[0]) : (a.shape[0], a.shape[1])
        let n = transposeB ? b.shape[0] : b.shape[1]
        if m <= Runtime.fewRows, transposeB, !transposeA {
            let product = productsOfFewRows(a, [b])[0]
            guard let addend else { return alpha == 1 ? product : scale(product, by: alpha) }
            let sum = addend.copied()
            forElements(m * n) { kernels.add_scaled(product.floats, alpha, sum.floats, $0, $1) }
            return sum
        }
        let c = Tensor(uninitialized: [m, n])
        var product = arguments(a, b, transposeB: transposeB, c)
        product.k = k
        product.a_row_stride = transposeA ? 1 : k
        product.a_column_stride = transposeA ? m : 1
        product.alpha = alpha
        product.accumulate = addend != nil
        withExtendedLifetime((a, b, addend)) { run([product], adding: addend?.floats) }
        return c
    }

    func products(_ x: Tensor, _ weights: [Tensor]) -> [Tensor] {
        if x.shape[0] <= Runtime.fewRows { return productsOfFewRows(x, weights) }
        let results = weights.map { Tensor(uninitialized: [x.shape[0], $0.shape[0]]) }
        let all = zip(weights, results).map { arguments(x, $0, transposeB: true, $1) }
        withExtendedLifetime((x, weights)) { runTogether(all) }
        return results
    }

    func sumOfProducts(_ pairs: [(a: Tensor, w: Tensor)]) -> Tensor {
        let c = Tensor(uninitialized: [pairs[0].a.shape[0], pairs[0].w.shape[1]])
        var all = pairs.map { arguments($0.a, $0.w, transposeB: false, c) }
        for index in all.indices.dropFirst() { all[index].accumulate = true }
        withExtendedLifetime(pairs) { run(all, adding: nil) }
        return c
    }

    /// The product of rows [m, k] with a matrix, written to `c`.
    private func arguments(_ a: Tensor, _ b: Tensor, transposeB: Bool, _ c: Tensor) -> moru_gemm {
        var arguments = moru_gemm()
        (arguments.m, arguments.n, arguments.k) = (c.shape[0], c.shape[1], a.shape[1])
        arguments.a = UnsafeRawPointer(a.floats)
        arguments.a_row_stride = a.shape[1]
        arguments.a_column_stride = 1
        arguments.b = b.bytes
        arguments.b_type = b.dtype.kernelType!
        arguments.b_row_bytes = b.dtype.byteCount(of: b.shape[1])!
        arguments.b_transposed = transposeB
        arguments.c = UnsafeMutableRawPointer(c.floats)
        arguments.c_row_stride = c.shape[1]
        arguments.alpha = 1
        arguments.allow_bf16 = runtime.precision == .automatic
        return arguments
    }

    private static let columnUnit = 64

    /// Computes products that add up in one C. The larger side of C is split, so that each thread packs its own part of
    /// the operands, and first fills its own part of C with what is added to.
    private func run(_ all: [moru_gemm], adding addend: UnsafePointer<Float>?) {
        let (m, n) = (all[0].m, all[0].n)
        guard m > 0, n > 0 else { return }
        let scratchBytes = scratchBytes(all)
        let work = all.reduce(0) { $0 + m * n * max(1, $1.k) }
        let parts = work < 1 << 16 ? 1 : threads.threadCount
        let unit = Self.columnUnit
        let splitsColumns = n >= m || n >= unit * parts
        let length = splitsColumns ? n : m
        let units = (length + unit - 1) / unit
        let pieces = min(parts, units)
        threads.run(pieces) { piece in
            let begin = units * piece / pieces * unit
            let end = min(length, units * (piece + 1) / pieces * unit)
            let (rows, columns) = splitsColumns ? (0..<m, begin..<end) : (begin..<end, 0..<n)
            if let addend {
                let c = all[0].c.assumingMemoryBound(to: Float.self)
                for row in rows {
                    let offset = row * n + columns.lowerBound
                    (c + offset).update(from: addend + offset, count: columns.count)
                }
            }
            withScratch(scratchBytes) { scratch in
                for var one in all {
                    kernels.gemm(
                        &one, rows.lowerBound, rows.upperBound, columns.lowerBound, columns.upperBound, scratch)
                }
            }
        }
    }

    /// Computes products of the same rows, each with a C of its own; the threads share the columns of all.
    private func runTogether(_ all: [moru_gemm]) {
        let unit = Self.columnUnit
        let units = all.map { ($0.n + unit - 1) / unit }
        let total = units.reduce(0, +)
        guard total >= threads.threadCount else {
            for one in all { run([one], adding: nil) }
            return
        }
        let scratchBytes = scratchBytes(all)
        threads.forRanges(total, minimum: (1 << 16) / max(1, all[0].m * all[0].k * unit)) { range in
            withScratch(scratchBytes) { scratch in
                var start = 0
                for (var one, count) in zip(all, units) {
                    let part = range.clamped(to: start..<start + count)
                    let end = min(one.n, (part.upperBound - start) * unit)
                    if !part.isEmpty { kernels.gemm(&one, 0, one.m, (part.lowerBound - start) * unit, end, scratch) }
                    start += count
                }
            }
        }
    }

    private func scratchBytes(_ all: [moru_gemm]) -> Int {
        all.reduce(1) { most, one in max(most, withUnsafePointer(to: one) { kernels.gemm_scratch_bytes($0) }) }
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

    func scatterAddRows(_ source: Tensor, _ ids: [Int32], rowCount: Int) -> Tensor {
        let dim = source.shape[1]
        let y = Tensor.zeros([rowCount, dim])
        forColumns(dim, rows: ids.count) { begin, end in
            for (row, id) in ids.enumerated() {
                kernels.add_scaled(source.floats + row * dim, 1, y.floats + Int(id) * dim, begin, end)
            }
        }
        return y
    }
}
