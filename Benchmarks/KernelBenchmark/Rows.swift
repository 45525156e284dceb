import CMoruKernels

/// Attention of one sequence: prefill or training, and decoding over a long context.
func benchmarkAttention(_ table: Kernels, _ report: Report) {
    for (rows, keys, heads, kvHeads, dim) in [
        (512, 512, 9, 3, 64), (2048, 2048, 9, 3, 64), (512, 512, 32, 8, 128), (1, 2048, 9, 3, 64),
        (1, 8192, 32, 8, 128),
    ] {
        let q = floats(rows * heads * dim), out = floats(rows * heads * dim), logSum = floats(rows * heads)
        let k = floats(keys * kvHeads * dim), v = floats(keys * kvHeads * dim)
        let pages = UnsafeMutablePointer<UnsafePointer<Float>?>.allocate(capacity: 2)
        pages[0] = UnsafePointer(k)
        pages[1] = UnsafePointer(v)
        let args = UnsafeMutablePointer<moru_attention>.allocate(capacity: 1)
        args.initialize(
            to: moru_attention(
                rows: rows, first_position: keys - rows, kv_count: keys, heads: heads, kv_heads: kvHeads, head_dim: dim,
                q: q, q_row_stride: heads * dim, k_pages: pages, v_pages: pages + 1, page_tokens: keys,
                kv_row_stride: kvHeads * dim, causal: true, window: 0, scale: 0.125, softcap: 0, out: out,
                out_row_stride: heads * dim, log_sum_exp: logSum))
        let size = max(
            table.pointee.attention_scratch_bytes(args), table.pointee.attention_backward_scratch_bytes(args))
        let memory = (0..<8).map { _ in scratch(size) }
        let shape = "\(rows) rows, \(keys) keys, \(heads)/\(kvHeads) heads of \(dim)"
        // Two products of `dim` for each visible pair of a query and a key; the gradient has five.
        let pairs = rows == 1 ? Double(keys) : Double(rows * (rows + 1) / 2)
        let flops = 4 * pairs * Double(dim * heads)
        if rows == 1 {
            report.measure("attention decode", shape, .memory, amount: Double(8 * keys * kvHeads * dim)) {
                let (begin, end) = share(kvHeads, $0, $1)
                table.pointee.attention(args, 0, 1, begin * heads / kvHeads, end * heads / kvHeads, memory[$0])
            }
        } else {
            report.measure("attention", shape, .arithmetic, amount: flops) {
                let (begin, end) = share(heads, $0, $1)
                table.pointee.attention(args, 0, rows, begin, end, memory[$0])
            }
            let gradient = UnsafeMutablePointer<moru_attention_gradient>.allocate(capacity: 1)
            gradient.initialize(
                to: moru_attention_gradient(
                    d_out: floats(rows * heads * dim), d_q: floats(rows * heads * dim),
                    d_k: floats(keys * kvHeads * dim), d_v: floats(keys * kvHeads * dim)))
            report.measure("attention backward", shape, .arithmetic, amount: 2.5 * flops) {
                let (begin, end) = share(kvHeads, $0, $1)
                table.pointee.attention_backward(args, gradient, begin, end, memory[$0])
            }
        }
    }
}

/// Elementwise work and rows, over arrays beyond the second-level cache.
func benchmarkElementwise(_ table: Kernels, _ report: Report) {
    let dim = 576, rows = 4096, count = dim * rows
    let a = floats(count), b = floats(count), c = floats(count), d = floats(count), e = floats(count)
    let w = floats(dim), perRow = floats(rows)
    func measure(_ kernel: String, arrays: Int, _ body: @escaping (_ begin: Int, _ end: Int) -> Void) {
        report.measure(kernel, "\(count) elements", .memory, amount: Double(4 * arrays * count)) {
            let (begin, end) = share(count, $0, $1)
            body(begin, end)
        }
    }
    func measureRows(_ kernel: String, arrays: Int, _ body: @escaping (_ begin: Int, _ end: Int) -> Void) {
        report.measure(kernel, "\(rows) x \(dim)", .memory, amount: Double(4 * arrays * count)) {
            let (begin, end) = share(rows, $0, $1)
            body(begin, end)
        }
    }
    measure("add", arrays: 3) { table.pointee.add(a, b, c, $0, $1) }
    measure("silu", arrays: 2) { table.pointee.silu(a, b, $0, $1) }
    measure("gelu", arrays: 2) { table.pointee.gelu(a, b, false, $0, $1) }
    measure("swiglu", arrays: 3) { table.pointee.swiglu(a, b, c, $0, $1) }
    measure("swiglu backward", arrays: 5) { table.pointee.swiglu_backward(a, b, c, d, e, $0, $1) }
    measure("sum of squares", arrays: 1) { _ = table.pointee.sum_of_squares(a, $0, $1) }
    let step = UnsafeMutablePointer<moru_adamw>.allocate(capacity: 1)
    step.initialize(
        to: moru_adamw(
            learning_rate: 1e-3, beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weight_decay: 0.1, bias_correction1: 0.5,
            bias_correction2: 0.5, gradient_scale: 1))
    let m = floats(count), v = floats(count)
    m.update(repeating: 0.01, count: count)
    v.update(repeating: 0.01, count: count)
    measure("adamw", arrays: 7) { table.pointee.adamw(step, a, b, m, v, $0, $1) }
    measureRows("rms norm", arrays: 2) { table.pointee.rms_norm(a, w, 1e-5, b, perRow, dim, $0, $1) }
    measureRows("rms norm backward", arrays: 3) {
        table.pointee.rms_norm_backward(a, b, w, perRow, c, nil, dim, $0, $1)
    }
    measureRows("layer norm", arrays: 2) { table.pointee.layer_norm(a, w, w, 1e-5, b, nil, nil, dim, $0, $1) }
    measureRows("softmax", arrays: 2) { table.pointee.softmax(a, b, dim, $0, $1) }
    measureRows("rope", arrays: 2) { table.pointee.rope(a, c, d, b, dim / 64, 64, 64, false, false, $0, $1) }
    let vocabulary = 49152, positions = 64
    let logits = floats(vocabulary * positions), gradient = floats(vocabulary * positions)
    let targets = UnsafeMutablePointer<Int32>.allocate(capacity: positions)
    targets.initialize(repeating: 5, count: positions)
    report.measure("cross entropy", "\(positions) x \(vocabulary)", .memory, amount: Double(8 * vocabulary * positions))
    {
        let (begin, end) = share(positions, $0, $1)
        table.pointee.cross_entropy(logits, targets, 1, perRow, gradient, vocabulary, begin, end)
    }
}
