import CMoruKernels

extension CPUBackend {
    /// The products of at most ``Runtime/fewRows`` rows with weights [n_i, k], bound by reading the weights once; of any
    /// number of rows with quantised weights, if they may be rounded.
    func productsOfFewRows(_ x: Tensor, _ weights: [Tensor]) -> [Tensor] {
        let products = weights.map { Tensor(uninitialized: [x.shape[0], $0.shape[0]]) }
        multiplyFewRows(x.floats, rows: x.shape[0], zip(weights, products).map { ($0, $1.floats) })
        return withExtendedLifetime(x) { products }
    }

    /// Whether a weight is quantised, so that any number of rows can go the way of few, rounded to 8 bits.
    func isPackable(_ weight: Tensor) -> Bool { weight.dtype.kernelType.map { moru_can_pack($0) } ?? false }

    /// Writes the products of some rows [rows, k] with weights [n_i, k] to [rows, n_i] each.
    func multiplyFewRows(
        _ x: UnsafePointer<Float>, rows: Int, _ products: [(weight: Tensor, y: UnsafeMutablePointer<Float>)]
    ) {
        multiplyFewRows(x, rows: rows, products.map { (0..<rows, $0.weight, $0.y) })
    }

    /// Writes the products of parts of some rows [rows, k] with a weight [n_i, k] each to [part_i.count, n_i].
    ///
    /// Against quantised weights, whose packed forms are made at the first use, the rows are rounded once, to 8 bits in
    /// blocks of 32. The threads share all outputs in one loop, and those of some products of other memory too.
    func multiplyFewRows(
        _ x: UnsafePointer<Float>, rows: Int,
        _ products: [(part: Range<Int>, weight: Tensor, y: UnsafeMutablePointer<Float>)],
        beside others: [moru_matvec] = []
    ) {
        guard rows > 0, let k = products.first?.weight.shape[1] else { return }
        let forms = products.map { product -> PackedWeights? in
            guard isPackable(product.weight), k > 0 else { return nil }
            return product.weight.storage.packedForms.form(of: product.weight, threads: threads)
        }
        guard forms.contains(where: { $0 != nil }) else {
            run(products.map { .dense(denseArguments(x, $0.part, $0.weight, $0.y)) } + others.map { .dense($0) })
            return withExtendedLifetime(products) {}
        }
        let rowBytes = (moru_rounded_bytes(k) + 63) & ~63
        withScratch(rows * rowBytes) { rounded in
            threads.forRanges(rows, minimum: max(1, Self.grain / k)) { range in
                for row in range { kernels.round_row(x + row * k, k, rounded + row * rowBytes) }
            }
            let all = zip(products, forms).map { product, form -> FewRowsProduct in
                guard let form else { return .dense(denseArguments(x, product.part, product.weight, product.y)) }
                var arguments = moru_packed_product()
                (arguments.rows, arguments.n, arguments.k) = (product.part.count, product.weight.shape[0], k)
                (arguments.w, arguments.w_type) = (form.bytes, product.weight.dtype.kernelType!)
                arguments.x = UnsafeRawPointer(rounded + product.part.lowerBound * rowBytes)
                arguments.x_row_bytes = rowBytes
                (arguments.y, arguments.y_row_stride) = (product.y, arguments.n)
                return .packed(arguments)
            }
            withExtendedLifetime((products, forms)) { run(all + others.map { .dense($0) }) }
        }
    }

    func denseArguments(
        _ x: UnsafePointer<Float>, _ rows: Range<Int>, _ weight: Tensor, _ y: UnsafeMutablePointer<Float>
    ) -> moru_matvec {
        var arguments = moru_matvec()
        (arguments.rows, arguments.n, arguments.k) = (rows.count, weight.shape[0], weight.shape[1])
        (arguments.w, arguments.w_type) = (weight.bytes, weight.dtype.kernelType!)
        arguments.w_row_bytes = weight.dtype.byteCount(of: arguments.k)!
        arguments.x = UnsafeRawPointer(x + rows.lowerBound * arguments.k)
        arguments.x_row_bytes = arguments.k * MemoryLayout<Float>.size
        (arguments.y, arguments.y_row_stride) = (y, arguments.n)
        return arguments
    }

    private enum FewRowsProduct {
        case dense(moru_matvec)
        case packed(moru_packed_product)

        var outputs: Int {
            switch self {
            case .dense(let arguments): arguments.n
            case .packed(let arguments): arguments.n
            }
        }

        /// What an output costs, about: bytes to read, and the arithmetic of each row.
        var cost: Int {
            switch self {
            case .dense(let arguments): arguments.w_row_bytes + arguments.rows * arguments.k
            case .packed(let arguments): arguments.k + arguments.rows * arguments.k / 8
            }
        }
    }

    /// Splits the outputs of all products, in whole pairs of panels, evenly between the threads.
    private func run(_ all: [FewRowsProduct]) {
        let unit = 2 * Int(MORU_PANEL)
        let units = all.map { ($0.outputs + unit - 1) / unit }
        let cost = all.reduce(1) { max($0, $1.cost) } * unit
        threads.forRanges(units.reduce(0, +), minimum: max(1, (1 << 15) / cost)) { range in
            var start = 0
            for (one, count) in zip(all, units) {
                let part = range.clamped(to: start..<start + count)
                let begin = (part.lowerBound - start) * unit
                let end = min(one.outputs, (part.upperBound - start) * unit)
                start += count
                guard begin < end else { continue }
                switch one {
                case .dense(var arguments): kernels.matvec(&arguments, begin, end)
                case .packed(var arguments): kernels.packed_product(&arguments, begin, end)
                }
            }
        }
    }
}
