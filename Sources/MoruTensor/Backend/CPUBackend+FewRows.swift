import CMoruKernels

extension CPUBackend {
    /// The products of at most ``Runtime/fewRows`` rows with weights [n_i, k], bound by reading the weights once.
    func productsOfFewRows(_ x: Tensor, _ weights: [Tensor]) -> [Tensor] {
        let products = weights.map { Tensor(uninitialized: [x.shape[0], $0.shape[0]]) }
        multiplyFewRows(x.floats, rows: x.shape[0], zip(weights, products).map { ($0, $1.floats) })
        return withExtendedLifetime(x) { products }
    }

    /// Writes the products of some rows [rows, k] with weights [n_i, k] to [rows, n_i] each.
    ///
    /// The rows are prepared once for each format of the weights, and the threads share all outputs in one loop.
    func multiplyFewRows(
        _ x: UnsafePointer<Float>, rows: Int, _ products: [(weight: Tensor, y: UnsafeMutablePointer<Float>)]
    ) {
        guard let k = products.first?.weight.shape[1] else { return }
        var all: [moru_matvec] = []
        all.reserveCapacity(products.count)
        var scratchBytes = 1
        for (weight, y) in products {
            var arguments = moru_matvec()
            (arguments.rows, arguments.n, arguments.k) = (rows, weight.shape[0], k)
            arguments.w = weight.bytes
            arguments.w_type = weight.dtype.kernelType!
            arguments.w_row_bytes = weight.dtype.byteCount(of: k)!
            arguments.x_row_bytes = (kernels.activation_bytes(arguments.w_type, k) + 63) & ~63
            arguments.y = y
            arguments.y_row_stride = weight.shape[0]
            scratchBytes += rows * arguments.x_row_bytes
            all.append(arguments)
        }
        withScratch(scratchBytes) { scratch in
            var next = scratch
            for index in all.indices {
                if let same = all[..<index].first(where: { $0.w_type == all[index].w_type }) {
                    all[index].x = same.x
                    continue
                }
                all[index].x = UnsafeRawPointer(next)
                for row in 0..<rows {
                    kernels.prepare_activation(all[index].w_type, x + row * k, k, next)
                    next += all[index].x_row_bytes
                }
            }
            withExtendedLifetime(products) { run(all) }
        }
    }

    /// Splits the bytes of all weights evenly between the threads.
    private func run(_ all: [moru_matvec]) {
        let total = all.reduce(0) { $0 + $1.n * max(1, $1.w_row_bytes) }
        threads.forRanges(total, minimum: 1 << 15) { bytes in
            var start = 0
            for var arguments in all {
                let rowBytes = max(1, arguments.w_row_bytes)
                // A row belongs to the range that its first byte lies in
                func row(_ byte: Int) -> Int { min(arguments.n, max(0, byte - start + rowBytes - 1) / rowBytes) }
                let (begin, end) = (row(bytes.lowerBound), row(bytes.upperBound))
                if begin < end { kernels.matvec(&arguments, begin, end) }
                start += arguments.n * rowBytes
            }
        }
    }
}
