import CMoruKernels

extension CPUBackend {
    /// The products of at most ``Runtime/fewRows`` rows with weights [n_i, k], bound by reading the weights once; of any
    /// number of rows with quantised weights, if they may be rounded.
    func packedProducts(_ x: Tensor, _ weights: [Tensor], _ way: PackedWay) -> [Tensor] {
        let products = weights.map { Tensor(uninitialized: [x.shape[0], $0.shape[0]]) }
        let all = zip(weights, products).map { (0..<x.shape[0], $0, $1.floats) }
        multiplyFewRows(x.floats, rows: x.shape[0], all, way)
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
    /// blocks of 32. The threads share all outputs in one loop.
    func multiplyFewRows(
        _ x: UnsafePointer<Float>, rows: Int,
        _ products: [(part: Range<Int>, weight: Tensor, y: UnsafeMutablePointer<Float>)], _ way: PackedWay = .plain
    ) {
        guard rows > 0, let k = products.first?.weight.shape[1] else { return }
        let (threads, kernels) = (self.threads, FewRowsKernels(runtime))
        withScratch(rows * FewRowsInput.roundedRowBytes(k)) { scratch in
            let input = FewRowsInput(x, inputs: k, rounded: scratch, way)
            var all = FewRowsProducts(kernels)
            defer { all.deallocate() }
            all.begin()
            var readsRounded = false
            for (part, weight, y) in products {
                let weight = FewRowsWeight(weight, threads: threads)
                all.append(weight, rows: part, to: y)
                readsRounded = readsRounded || weight.isPacked
            }
            if readsRounded {
                threads.forRanges(rows, minimum: max(1, Self.grain / k)) { input.round($0, kernels) }
            }
            let parts = all.parts(atMost: threads.threadCount)
            threads.run(parts) { [all] in all.compute(all.units(of: $0, parts), input) }
        }
        withExtendedLifetime(products) {}
    }
}
