import CMoruKernels

/// Products of many rows: the shapes of SmolLM2's layers in training, small batches, LoRA's thin matrices, the vocabulary.
func benchmarkProducts(_ table: Kernels, _ report: Report) {
    let shapes = [
        (512, 1536, 576), (512, 576, 1536), (512, 576, 576), (2048, 1536, 576), (64, 1536, 576), (16, 1536, 576),
        (512, 8, 576), (512, 576, 8), (512, 49152, 576),
    ]
    for (m, n, k) in shapes {
        for transposed in [true, false] where transposed || n < 10_000 {
            for bf16 in [false, true] {
                let b = UnsafePointer(floats(n * k))
                product(
                    table, report, "gemm \(bf16 ? "bf16" : "f32")", m, n, k, b: b, MORU_F32, transposed: transposed,
                    bf16: bf16)
                b.deallocate()
            }
        }
    }
    for format in [MORU_Q4_1, MORU_Q8_0] {
        let b = scratch(1536 * 576 * 2)
        b.initializeMemory(as: UInt8.self, repeating: 1, count: 1536 * 576 * 2)
        product(table, report, "gemm \(name(format))", 512, 1536, 576, b: b, format, transposed: true, bf16: false)
        b.deallocate()
    }
}

func product(
    _ table: Kernels, _ report: Report, _ kernel: String, _ m: Int, _ n: Int, _ k: Int, b: UnsafeRawPointer,
    _ format: moru_dtype, transposed: Bool, bf16: Bool
) {
    guard report.wants(kernel) else { return }
    let a = floats(m * k), c = floats(m * n)
    let args = UnsafeMutablePointer<moru_gemm>.allocate(capacity: 1)
    args.initialize(
        to: moru_gemm(
            m: m, n: n, k: k, a: a, a_row_stride: k, a_column_stride: 1, b: b, b_type: format,
            b_row_bytes: (transposed ? k : n) / moru_block_elements(format) * moru_block_bytes(format),
            b_transposed: transposed, c: c, c_row_stride: n, alpha: 1, accumulate: false, allow_bf16: bf16))
    let memory = (0..<8).map { _ in scratch(table.pointee.gemm_scratch_bytes(args)) }
    let shape = "\(m) x \(n) x \(k) \(transposed ? "A B^T" : "A B")"
    report.measure(kernel, shape, .arithmetic, amount: 2 * Double(m) * Double(n) * Double(k)) { thread, threads in
        let (begin, end) = share(n, thread, threads, unit: 32)
        table.pointee.gemm(args, 0, m, begin, end, memory[thread])
    }
    a.deallocate()
    c.deallocate()
    args.deallocate()
    for part in memory { part.deallocate() }
}

func name(_ format: moru_dtype) -> String {
    ["f32", "f16", "bf16", "q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "q2_k", "q3_k", "q4_k", "q5_k", "q6_k"][
        Int(format.rawValue)]
}

/// Products of few rows, as in decoding, over weights larger than the caches.
func benchmarkFewRows(_ table: Kernels, _ report: Report) {
    let k = 1536, bytes = 96 << 20
    let weights = scratch(bytes)
    weights.initializeMemory(as: UInt8.self, repeating: 1, count: bytes)
    for raw in 0..<MORU_DTYPE_COUNT.rawValue {
        let format = moru_dtype(rawValue: raw)
        let rowBytes = k / moru_block_elements(format) * moru_block_bytes(format), n = bytes / rowBytes
        for rows in [1, 4, 8] {
            let x = floats(rows * k), y = floats(rows * n)
            let prepared = table.pointee.activation_bytes(format, k)
            let activations = scratch(prepared * rows)
            for row in 0..<rows {
                table.pointee.prepare_activation(format, x + row * k, k, activations + row * prepared)
            }
            let args = UnsafeMutablePointer<moru_matvec>.allocate(capacity: 1)
            args.initialize(
                to: moru_matvec(
                    rows: rows, n: n, k: k, w: weights, w_type: format, w_row_bytes: rowBytes, x: activations,
                    x_row_bytes: prepared, y: y, y_row_stride: n))
            report.measure(
                "matvec \(name(format))", "\(rows) x \(n) x \(k)", .memory, amount: Double(n * rowBytes)
            ) { thread, threads in
                let (begin, end) = share(n, thread, threads)
                table.pointee.matvec(args, begin, end)
            }
            x.deallocate()
            y.deallocate()
            activations.deallocate()
            args.deallocate()
        }
    }
    weights.deallocate()
}
