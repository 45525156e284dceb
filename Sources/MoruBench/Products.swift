import CMoruKernels
import MoruTensor

/// Products of many rows: the shapes of language models in training and in reading prompts, through the backend, which
/// splits them over all threads.
let productShapes = [
    (2048, 768, 768), (2048, 768, 3072), (2048, 768, 2048), (2048, 3072, 768), (2048, 3072, 3072), (2048, 3072, 2048),
    (2048, 2048, 768), (2048, 2048, 3072), (2048, 2048, 2048), (512, 1536, 576), (512, 576, 1536), (64, 1536, 576),
    (512, 8, 576), (512, 576, 8), (512, 49152, 576),
]

extension KernelBenchmark {
    /// `x W^T` as in a layer.
    func measureProduct(_ kernel: String, _ dtype: DType, _ precision: Precision = .automatic) {
        let backend = Runtime.shared.backend
        let bound: Bound = precision == .f32 ? .f32 : precision == .int8 ? .int8 : .bf16
        Runtime.withPrecision(precision) {
            for (m, n, k) in productShapes where k % dtype.blockElements == 0 {
                let x = Self.numbers([m, k]), w = Self.numbers([n, k]).converted(to: dtype)
                measureWhole(
                    kernel, "\(m) x \(n) x \(k)", bound, amount: 2 * Double(m) * Double(n) * Double(k)
                ) {
                    _ = backend.matmul(x, transposeA: false, w, transposeB: true, alpha: 1, adding: nil)
                }
            }
        }
    }

    /// The two products of a layer's gradient, `dy W` and `dy^T x`.
    func measureProductBackward(_ kernel: String) {
        let backend = Runtime.shared.backend
        for (m, n, k) in productShapes.prefix(9) {
            let x = Self.numbers([m, k]), w = Self.numbers([n, k]), dy = Self.numbers([m, n])
            measureWhole(kernel, "\(m) x \(n) x \(k)", .bf16, amount: 4 * Double(m) * Double(n) * Double(k)) {
                _ = backend.matmul(dy, transposeA: false, w, transposeB: false, alpha: 1, adding: nil)
                _ = backend.matmul(dy, transposeA: true, x, transposeB: false, alpha: 1, adding: nil)
            }
        }
    }

    /// Products of bytes in groups of 128, as in an encoder: a thread takes 64 rows at a time, rounded before. Nothing
    /// where the CPU has no instruction for them.
    func measureByteProduct(_ kernel: String) {
        let byteKernels = moru_byte_kernels_for(kernels.level).pointee
        guard byteKernels.is_fast else { return }
        for (m, n, k) in [(2048, 1152, 384), (2048, 1536, 384), (2048, 384, 1536), (2048, 3072, 768)] {
            let weights = Scratch(floats: n * k), packed = Scratch(bytes: moru_byte_packed_bytes(n, k))
            let line = Scratch(floats: k), x = Scratch(floats: m * k), c = Scratch(floats: m * n)
            let rounded = Scratch(bytes: m * moru_byte_row_bytes(k))
            moru_byte_pack(MORU_F32, weights.base, 4 * k, n, k, packed.base, 0, n, line.floats)
            byteKernels.rows(MORU_F32, x.base, k, k, rounded.base, 0, m)
            withExtendedLifetime((packed, c, rounded)) {
                measure(
                    kernel, "\(m) x \(n) x \(k)", .int8, amount: 2 * Double(m) * Double(n) * Double(k)
                ) { thread, threads in
                    var arguments = moru_byte_product(
                        n: n, k: k, a: rounded.base, b: packed.base, c: c.floats, c_row_stride: n, accumulate: false)
                    let (begin, end) = share(m, thread, threads, unit: 64)
                    for row in stride(from: begin, to: end, by: 64) {
                        byteKernels.product(&arguments, row, min(end, row + 64), 0, n)
                    }
                }
            }
        }
    }

    /// Products of few rows, as in decoding, with as many matrices of a layer's size as are larger than the caches.
    func measureFewRows(_ kernel: String, _ dtype: DType) {
        guard let type = dtype.kernelType else { return }
        let (n, k) = (1536, 1536)
        let isPacked = moru_can_pack(type)
        let rowBytes = k / moru_block_elements(type) * moru_block_bytes(type)
        let matrixBytes = isPacked ? moru_packed_bytes(type, n, k) : n * rowBytes
        let count = (96 << 20) / matrixBytes
        let weights = Scratch(bytes: count * matrixBytes)
        let roundedBytes = (moru_rounded_bytes(k) + 63) & ~63
        for rows in isPacked ? [1, 4, 8, 16] : [1, 4, 8] {
            let x = Scratch(floats: rows * k), rounded = Scratch(bytes: roundedBytes * rows)
            let y = (0..<Runtime.shared.threads.threadCount).map { _ in Scratch(floats: rows * n) }
            for row in 0..<rows {
                kernels.round_row(x.floats + row * k, k, false, rounded.base + row * roundedBytes, 0, k)
            }
            withExtendedLifetime((weights, x, y, rounded)) {
                measure(
                    kernel, "\(rows) x \(count) x \(n) x \(k)", .memory, amount: Double(count * matrixBytes)
                ) { thread, threads in
                    let (begin, end) = share(count, thread, threads)
                    for index in begin..<end {
                        let w = UnsafeRawPointer(weights.base + index * matrixBytes)
                        if isPacked {
                            var arguments = moru_packed_product(
                                rows: rows, n: n, k: k, w: w, w_type: type, x: rounded.base, x_row_bytes: roundedBytes,
                                y: y[thread].floats, y_row_stride: n, accumulate: false, closely: false, next: nil,
                                next_bytes: 0)
                            kernels.packed_product(&arguments, 0, n)
                        } else {
                            var arguments = moru_matvec(
                                rows: rows, n: n, k: k, w: w, w_type: type, w_row_bytes: rowBytes, x: x.base,
                                x_row_bytes: 4 * k, y: y[thread].floats, y_row_stride: n)
                            kernels.matvec(&arguments, 0, n)
                        }
                    }
                }
            }
        }
    }

    private static func numbers(_ shape: [Int]) -> Tensor {
        var generator = RandomGenerator(seed: 1)
        return Tensor.uniform(shape, bound: 0.5, using: &generator)
    }
}
