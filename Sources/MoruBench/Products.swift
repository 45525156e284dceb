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
    /// `x W^T` as in a layer, in f32 or bf16.
    func measureProduct(_ kernel: String, _ dtype: DType) {
        let backend = Runtime.shared.backend
        let isF32 = dtype == .f32
        Runtime.withPrecision(isF32 ? .f32 : .automatic) {
            for (m, n, k) in productShapes {
                let x = Self.numbers([m, k]), w = Self.numbers([n, k]).converted(to: dtype)
                measureWhole(
                    kernel, "\(m) x \(n) x \(k)", isF32 ? .f32 : .bf16, amount: 2 * Double(m) * Double(n) * Double(k)
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

    /// Products of few rows, as in decoding, over weights larger than the caches.
    func measureFewRows(_ kernel: String, _ dtype: DType) {
        guard let type = dtype.kernelType else { return }
        let k = 1536, rowBytes = k / moru_block_elements(type) * moru_block_bytes(type)
        let n = (96 << 20) / rowBytes
        let weights = Scratch(bytes: n * rowBytes)
        for rows in [1, 4, 8] {
            let x = Scratch(floats: rows * k), y = Scratch(floats: rows * n)
            let rowStride = kernels.activation_bytes(type, k)
            let prepared = Scratch(bytes: rowStride * rows)
            for row in 0..<rows {
                kernels.prepare_activation(type, x.floats + row * k, k, prepared.base + row * rowStride)
            }
            var arguments = moru_matvec()
            (arguments.rows, arguments.n, arguments.k) = (rows, n, k)
            (arguments.w, arguments.w_type, arguments.w_row_bytes) = (UnsafeRawPointer(weights.base), type, rowBytes)
            (arguments.x, arguments.x_row_bytes) = (UnsafeRawPointer(prepared.base), rowStride)
            (arguments.y, arguments.y_row_stride) = (y.floats, n)
            withExtendedLifetime((weights, x, y, prepared)) {
                measure(kernel, "\(rows) x \(n) x \(k)", .memory, amount: Double(n * rowBytes)) { thread, threads in
                    let (begin, end) = share(n, thread, threads)
                    withUnsafePointer(to: arguments) { kernels.matvec($0, begin, end) }
                }
            }
        }
    }

    private static func numbers(_ shape: [Int]) -> Tensor {
        var generator = RandomGenerator(seed: 1)
        return Tensor.uniform(shape, bound: 0.5, using: &generator)
    }
}
