import CMoruKernels

extension CPUBackend {
    func matmul(
        _ a: Tensor, transposeA: Bool, _ b: Tensor, transposeB: Bool, alpha: Float, adding addend: Tensor?
    ) -> Tensor {
        let (m, k) = transposeA ? (a.shape[1], a.shape[0]) : (a.shape[0], a.shape[1])
        let n = transposeB ? b.shape[0] : b.shape[1]
        let type = b.dtype.kernelType!
        let rowBytes = b.dtype.byteCount(of: b.shape[1])!
        if m <= Runtime.fewRows, transposeB, !transposeA {
            let product = productOfFewRows(a, rows: m, b, type: type, rowBytes: rowBytes)
            guard let addend else { return alpha == 1 ? product : scale(product, by: alpha) }
            let sum = addend.copied()
            forElements(m * n) { kernels.add_scaled(product.floats, alpha, sum.floats, $0, $1) }
            return sum
        }
        let c = Tensor(uninitialized: [m, n])
        var arguments = moru_gemm()
        (arguments.m, arguments.n, arguments.k) = (m, n, k)
        arguments.a = UnsafePointer(a.floats)
        arguments.a_row_stride = transposeA ? 1 : k
        arguments.a_column_stride = transposeA ? m : 1
        arguments.b = b.bytes
        arguments.b_type = type
        arguments.b_row_bytes = rowBytes
        arguments.b_transposed = transposeB
        arguments.c = c.floats
        arguments.c_row_stride = n
        arguments.alpha = alpha
        arguments.accumulate = addend != nil
        arguments.allow_bf16 = runtime.precision == .automatic
        withExtendedLifetime((a, b, addend)) { run(arguments, adding: addend?.floats) }
        return c
    }

    /// Splits the larger side of C, so that each thread packs its own part of the operands, and first fills its own
    /// part of C with what the product is added to.
    private func run(_ arguments: moru_gemm, adding addend: UnsafePointer<Float>?) {
        let (m, n) = (arguments.m, arguments.n)
        guard m > 0, n > 0 else { return }
        let scratchBytes = withUnsafePointer(to: arguments) { kernels.gemm_scratch_bytes($0) }
        let work = m * n * max(1, arguments.k)
        let parts = work < 1 << 16 ? 1 : threads.threadCount
        let unit = 64
        let splitsColumns = n >= m || n >= unit * parts
        let length = splitsColumns ? n : m
        let units = (length + unit - 1) / unit
        let pieces = min(parts, units)
        threads.run(pieces) { piece in
            let begin = units * piece / pieces * unit
            let end = min(length, units * (piece + 1) / pieces * unit)
            if let addend {
                let (rows, columns) = splitsColumns ? (0..<m, begin..<end) : (begin..<end, 0..<n)
                for row in rows {
                    let offset = row * n + columns.lowerBound
                    (arguments.c + offset).update(from: addend + offset, count: columns.count)
                }
            }
            withScratch(scratchBytes) { scratch in
                withUnsafePointer(to: arguments) { pointer in
                    if splitsColumns {
                        kernels.gemm(pointer, 0, m, begin, end, scratch)
                    } else {
                        kernels.gemm(pointer, begin, end, 0, n, scratch)
                    }
                }
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
