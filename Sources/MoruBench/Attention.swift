import CMoruKernels
import MoruTensor

/// One sequence's attention and its memory.
private struct AttentionCase {
    let rows, keys, heads, kvHeads, dim: Int
    let q, k, v, out, logSum: Scratch
    let pages: UnsafeMutablePointer<UnsafeRawPointer?>

    init(rows: Int, keys: Int, heads: Int, kvHeads: Int, dim: Int) {
        (self.rows, self.keys, self.heads, self.kvHeads, self.dim) = (rows, keys, heads, kvHeads, dim)
        q = Scratch(floats: rows * heads * dim)
        k = Scratch(floats: keys * kvHeads * dim)
        v = Scratch(floats: keys * kvHeads * dim)
        out = Scratch(floats: rows * heads * dim)
        logSum = Scratch(floats: rows * heads)
        pages = .allocate(capacity: 2)
        (pages[0], pages[1]) = (UnsafeRawPointer(k.floats), UnsafeRawPointer(v.floats))
    }

    var arguments: moru_attention {
        var arguments = moru_attention()
        (arguments.rows, arguments.first_position, arguments.kv_count) = (rows, keys - rows, keys)
        (arguments.heads, arguments.kv_heads, arguments.head_dim) = (heads, kvHeads, dim)
        (arguments.q, arguments.q_row_stride) = (UnsafeRawPointer(q.floats), heads * dim)
        (arguments.k_pages, arguments.v_pages) = (UnsafePointer(pages), UnsafePointer(pages + 1))
        (arguments.page_tokens, arguments.kv_row_stride) = (keys, kvHeads * dim)
        (arguments.causal, arguments.scale) = (true, 1 / Float(dim).squareRoot())
        (arguments.out, arguments.out_row_stride) = (UnsafeMutableRawPointer(out.floats), heads * dim)
        arguments.log_sum_exp = logSum.floats
        return arguments
    }

    var shape: String { "\(rows) rows, \(keys) keys, \(heads)/\(kvHeads) heads of \(dim)" }
    /// Two products of `dim` for each visible pair of a query and a key.
    var operations: Double { 4 * Double(rows * (rows + 1) / 2) * Double(dim * heads) }
    func free() { pages.deallocate() }
}

extension KernelBenchmark {
    /// A whole sequence, as in training and in reading a prompt.
    func measureAttention(_ kernel: String, backward: Bool) {
        for (rows, heads, kvHeads, dim) in [(512, 9, 3, 64), (2048, 9, 3, 64), (512, 32, 8, 128)] {
            let item = AttentionCase(rows: rows, keys: rows, heads: heads, kvHeads: kvHeads, dim: dim)
            defer { item.free() }
            var arguments = item.arguments
            let bytes = max(
                kernels.attention_scratch_bytes(&arguments), kernels.attention_backward_scratch_bytes(&arguments))
            let memory = (0..<Runtime.shared.threads.threadCount).map { _ in Scratch(bytes: bytes) }
            let fixed = arguments
            if !backward {
                withExtendedLifetime(item) {
                    measure(kernel, item.shape, .f32, amount: item.operations) { thread, threads in
                        let (begin, end) = share(heads, thread, threads)
                        withUnsafePointer(to: fixed) {
                            kernels.attention($0, 0, rows, begin, end, memory[thread].base)
                        }
                    }
                }
                continue
            }
            let gradients = (0..<3).map { _ in Scratch(floats: rows * heads * dim) }
            let dOut = Scratch(floats: rows * heads * dim)
            var gradient = moru_attention_gradient()
            gradient.d_out = UnsafeRawPointer(dOut.floats)
            (gradient.d_q, gradient.d_k, gradient.d_v) = (
                UnsafeMutableRawPointer(gradients[0].floats), UnsafeMutableRawPointer(gradients[1].floats),
                UnsafeMutableRawPointer(gradients[2].floats)
            )
            let fixedGradient = gradient
            withExtendedLifetime((item, gradients, dOut)) {
                withUnsafePointer(to: fixed) { kernels.attention($0, 0, rows, 0, heads, memory[0].base) }
                // Five products where the forward pass has two
                measure(kernel, item.shape, .f32, amount: 2.5 * item.operations) { thread, threads in
                    let (begin, end) = share(kvHeads, thread, threads)
                    withUnsafePointer(to: fixed) { fixed in
                        withUnsafePointer(to: fixedGradient) {
                            kernels.attention_backward(fixed, $0, begin, end, memory[thread].base)
                        }
                    }
                }
            }
        }
    }

    /// One new token over a long context.
    func measureAttentionDecode(_ kernel: String) {
        for (keys, heads, kvHeads, dim) in [(2048, 9, 3, 64), (8192, 32, 8, 128)] {
            let item = AttentionCase(rows: 1, keys: keys, heads: heads, kvHeads: kvHeads, dim: dim)
            defer { item.free() }
            var arguments = item.arguments
            let bytes = kernels.attention_scratch_bytes(&arguments)
            let memory = (0..<Runtime.shared.threads.threadCount).map { _ in Scratch(bytes: bytes) }
            let fixed = arguments
            withExtendedLifetime(item) {
                measure(kernel, item.shape, .memory, amount: Double(8 * keys * kvHeads * dim)) { thread, threads in
                    let (begin, end) = share(kvHeads, thread, threads)
                    withUnsafePointer(to: fixed) {
                        kernels.attention(
                            $0, 0, 1, begin * heads / kvHeads, end * heads / kvHeads, memory[thread].base)
                    }
                }
            }
        }
    }
}
