import CMoruKernels

extension CPUBackend {
    /// The product of at most ``Runtime/fewRows`` rows with a weight [n, k], bound by reading the weight once.
    func productOfFewRows(
        _ x: Tensor, rows: Int, _ w: Tensor, type: moru_dtype, rowBytes: Int
    ) -> Tensor {
        let (n, k) = (w.shape[0], w.shape[1])
        let y = Tensor(uninitialized: [rows, n])
        let activationBytes = (kernels.activation_bytes(type, k) + 63) & ~63
        withScratch(max(1, activationBytes * rows)) { prepared in
            for row in 0..<rows {
                kernels.prepare_activation(type, x.floats + row * k, k, prepared + row * activationBytes)
            }
            var arguments = moru_matvec()
            (arguments.rows, arguments.n, arguments.k) = (rows, n, k)
            arguments.w = w.bytes
            arguments.w_type = type
            arguments.w_row_bytes = rowBytes
            arguments.x = UnsafeRawPointer(prepared)
            arguments.x_row_bytes = activationBytes
            arguments.y = y.floats
            arguments.y_row_stride = n
            let fixed = arguments
            withExtendedLifetime(w) {
                threads.forRanges(n, minimum: max(1, (1 << 15) / max(1, rowBytes))) { range in
                    withUnsafePointer(to: fixed) { kernels.matvec($0, range.lowerBound, range.upperBound) }
                }
            }
        }
        return y
    }
}
