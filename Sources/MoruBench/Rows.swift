import CMoruKernels
import MoruTensor

private let dim = 576
private let rows = 4096

extension KernelBenchmark {
    typealias Measure = (KernelBenchmark, String) -> Void

    /// Every kernel with the way to measure it, in the order of the table.
    static var families: [(kernel: String, measure: Measure)] {
        var families: [(kernel: String, measure: Measure)] = [
            ("gemm f32", { $0.measureProduct($1, .f32, .f32) }), ("gemm bf16", { $0.measureProduct($1, .bf16) }),
            ("gemm backward", { $0.measureProductBackward($1) }), ("gemm q4_1", { $0.measureProduct($1, .q4_1) }),
            ("gemm q8_0", { $0.measureProduct($1, .q8_0) }), ("gemm int8", { $0.measureByteProduct($1) }),
            ("gemm int8 q4_1", { $0.measureProduct($1, .q4_1, .int8) }),
            ("gemm int8 q8_0", { $0.measureProduct($1, .q8_0, .int8) }),
        ]
        for dtype in DType.allCases where dtype.isFloatingPoint {
            families.append(("matvec \(dtype)", { $0.measureFewRows($1, dtype) }))
        }
        families += [
            ("attention", { $0.measureAttention($1, backward: false) }),
            ("attention backward", { $0.measureAttention($1, backward: true) }),
            ("attention decode", { $0.measureAttentionDecode($1) }),
        ]
        for (name, arrays, body) in elementwise {
            families.append((name, { $0.measureArrays($1, arrays: arrays, body) }))
        }
        return families + [("cross entropy", { $0.measureCrossEntropy($1) })]
    }

    /// Arrays that an elementwise kernel reads and writes, [rows, dim] each, and what goes with them.
    final class Arrays: Sendable {
        let a, b, c, d, e: Scratch
        let weight = Scratch(floats: dim)
        let perRow = Scratch(floats: rows)

        init() {
            (a, b, c, d, e) = (
                Scratch(floats: dim * rows), Scratch(floats: dim * rows), Scratch(floats: dim * rows),
                Scratch(floats: dim * rows), Scratch(floats: dim * rows)
            )
        }
    }

    private static func measureGated(
        _ kernels: moru_kernels, _ x: Arrays, _ begin: Int, _ end: Int, isBackward: Bool = false
    ) {
        var arguments = moru_gated()
        (arguments.function, arguments.dim) = (MORU_SILU, dim)
        (arguments.input_row_stride, arguments.output_row_stride) = (dim, dim)
        (arguments.input_type, arguments.output_type) = (MORU_F32, MORU_F32)
        arguments.gate = UnsafeRawPointer(x.a.floats)
        arguments.up = UnsafeRawPointer(x.b.floats)
        guard isBackward else {
            arguments.y = UnsafeMutableRawPointer(x.c.floats)
            return kernels.gated_rows(&arguments, begin, end)
        }
        arguments.dy = UnsafeRawPointer(x.c.floats)
        (arguments.d_gate, arguments.d_up) = (UnsafeMutableRawPointer(x.d.floats), UnsafeMutableRawPointer(x.e.floats))
        kernels.gated_rows_backward(&arguments, begin, end)
    }

    private typealias Body = (_ kernels: moru_kernels, _ x: Arrays, _ begin: Int, _ end: Int) -> Void

    /// Elementwise and row kernels, over arrays beyond the second-level cache, with the arrays that each reads or
    /// writes. Bodies work on rows.
    private static var elementwise: [(String, Int, Body)] {
        [
            ("add", 3, { $0.add($1.a.floats, $1.b.floats, $1.c.floats, $2 * dim, $3 * dim) }),
            ("silu", 2, { $0.silu($1.a.floats, $1.b.floats, $2 * dim, $3 * dim) }),
            ("gelu", 2, { $0.gelu($1.a.floats, $1.b.floats, false, $2 * dim, $3 * dim) }),
            ("swiglu", 3, { measureGated($0, $1, $2, $3) }),
            ("swiglu backward", 5, { measureGated($0, $1, $2, $3, isBackward: true) }),
            ("sum of squares", 1, { _ = $0.sum_of_squares($1.a.floats, $2 * dim, $3 * dim) }),
            (
                "adamw", 7,
                { kernels, x, begin, end in
                    var step = moru_adamw(
                        learning_rate: 1e-3, beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weight_decay: 0.1,
                        bias_correction1: 0.5, bias_correction2: 0.5, gradient_scale: 1)
                    kernels.adamw(&step, x.a.floats, x.b.floats, x.c.floats, x.d.floats, begin * dim, end * dim)
                }
            ),
            (
                "rms norm", 2,
                { $0.rms_norm($1.a.floats, $1.weight.floats, 1e-5, $1.b.floats, $1.perRow.floats, dim, $2, $3) }
            ),
            (
                "rms norm backward", 3,
                {
                    $0.rms_norm_backward(
                        $1.a.floats, $1.b.floats, $1.weight.floats, $1.perRow.floats, $1.c.floats, nil, dim, $2, $3)
                }
            ),
            (
                "layer norm", 2,
                {
                    $0.layer_norm(
                        $1.a.floats, $1.weight.floats, $1.weight.floats, 1e-5, $1.b.floats, nil, nil, dim, $2, $3)
                }
            ),
            ("softmax", 2, { $0.softmax($1.a.floats, $1.b.floats, dim, $2, $3) }),
            (
                "rope", 2,
                { $0.rope($1.a.floats, $1.c.floats, $1.d.floats, $1.b.floats, dim / 64, 64, 64, false, false, $2, $3) }
            ),
        ]
    }

    private func measureArrays(_ kernel: String, arrays: Int, _ body: Body) {
        let x = Arrays()
        // Adam's second moment is a mean of squares
        x.d.floats.update(repeating: 0.01, count: dim * rows)
        measure(kernel, "\(rows) x \(dim)", .memory, amount: Double(4 * arrays * rows * dim)) { thread, threads in
            let (begin, end) = share(rows, thread, threads)
            body(kernels, x, begin, end)
        }
    }

    /// The loss and its gradient over a large vocabulary.
    func measureCrossEntropy(_ kernel: String) {
        let vocabulary = 49152, positions = 64
        let logits = Scratch(floats: vocabulary * positions), gradient = Scratch(floats: vocabulary * positions)
        let losses = Scratch(floats: positions)
        let targets = [Int32](repeating: 5, count: positions)
        let shape = "\(positions) x \(vocabulary)"
        measure(kernel, shape, .memory, amount: Double(8 * vocabulary * positions)) { thread, threads in
            let (begin, end) = share(positions, thread, threads)
            kernels.cross_entropy(
                logits.floats, targets, 1, losses.floats, gradient.floats, vocabulary, begin, end)
        }
    }
}
