import CMoruKernels

extension CPUBackend {
    /// The products of at most ``Runtime/fewRows`` rows with weights [n_i, k], bound by reading the weights once.
    ///
    /// The rows are prepared once for each format of the weights, and the threads share all outputs in one loop.
    func productsOfFewRows(_ x: Tensor, _ weights: [Tensor]) -> [Tensor] {
        let (rows, k) = (x.shape[0], x.shape[1])
        let products = weights.map { Tensor(uninitialized: [rows, $0.shape[0]]) }
        let types = weights.map { $0.dtype.kernelType! }
        let preparedBytes = types.enumerated().map { index, type in
            types[..<index].contains(type) ? 0 : (kernels.activation_bytes(type, k) + 63) & ~63
        }
        withScratch(max(1, rows * preparedBytes.reduce(0, +))) { scratch in
            var next = scratch
            var all: [moru_matvec] = []
            for (index, weight) in weights.enumerated() {
                var arguments = moru_matvec()
                (arguments.rows, arguments.n, arguments.k) = (rows, weight.shape[0], k)
                arguments.w = weight.bytes
                arguments.w_type = types[index]
                arguments.w_row_bytes = weight.dtype.byteCount(of: k)!
                if let same = all.first(where: { $0.w_type == types[index] }) {
                    (arguments.x, arguments.x_row_bytes) = (same.x, same.x_row_bytes)
                } else {
                    (arguments.x, arguments.x_row_bytes) = (UnsafeRawPointer(next), preparedBytes[index])
                    for row in 0..<rows {
                        kernels.prepare_activation(types[index], x.floats + row * k, k, next)
                        next += preparedBytes[index]
                    }
                }
                arguments.y = products[index].floats
                arguments.y_row_stride = weight.shape[0]
                all.append(arguments)
            }
            withExtendedLifetime((x, weights)) { run(all) }
        }
        return products
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
