import CMoruKernels

/// How products row by row round what quantised weights are multiplied with.
enum PackedWay {
    /// To 8 bits in blocks of 32.
    case plain
    /// Likewise, from the least to the largest of each block: half the step where one of them stands out.
    case close
}

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
    ///
    /// - Parameters:
    ///   - updates: The low-rank updates of each product, or nothing. The inner products of all are computed beside the
    ///     rounding, and the outer ones added where a thread has just written its part of the outputs.
    ///   - ahead: Memory to ask for meanwhile.
    func multiplyFewRows(
        _ x: UnsafePointer<Float>, rows: Int,
        _ products: [(part: Range<Int>, weight: Tensor, y: UnsafeMutablePointer<Float>)], _ way: PackedWay = .plain,
        updates: [[moru_low_rank]] = [], ahead: [UnsafeRawBufferPointer] = []
    ) {
        guard rows > 0, let k = products.first?.weight.shape[1] else { return }
        let forms = products.map { product -> PackedWeights? in
            guard isPackable(product.weight), k > 0 else { return nil }
            return product.weight.storage.packedForms.form(of: product.weight, threads: threads)
        }
        guard forms.contains(where: { $0 != nil }) else {
            if !updates.isEmpty { computeInner(Array(updates.joined())) }
            run(products.map { .dense(denseArguments(x, $0.part, $0.weight, $0.y)) }, updates, ahead)
            return withExtendedLifetime(products) {}
        }
        let rowBytes = (moru_rounded_bytes(k) + 63) & ~63
        withScratch(rows * rowBytes) { rounded in
            func round(_ range: Range<Int>) {
                for row in range { kernels.round_row(x + row * k, k, way == .close, rounded + row * rowBytes) }
            }
            if updates.isEmpty {
                threads.forRanges(rows, minimum: max(1, Self.grain / k), round)
            } else {
                computeInner(Array(updates.joined())) { part, parts in
                    round(rows * part / parts..<rows * (part + 1) / parts)
                }
            }
            let all = zip(products, forms).map { product, form -> FewRowsProduct in
                guard let form else { return .dense(denseArguments(x, product.part, product.weight, product.y)) }
                var arguments = moru_packed_product()
                (arguments.rows, arguments.n, arguments.k) = (product.part.count, product.weight.shape[0], k)
                (arguments.w, arguments.w_type) = (form.bytes, product.weight.dtype.kernelType!)
                arguments.x = UnsafeRawPointer(rounded + product.part.lowerBound * rowBytes)
                arguments.x_row_bytes = rowBytes
                (arguments.y, arguments.y_row_stride) = (product.y, arguments.n)
                arguments.closely = way == .close
                return .packed(arguments)
            }
            withExtendedLifetime((products, forms)) { run(all, updates, ahead) }
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
        let units = all.reduce(0) { $0 + ($1.outputs + unit - 1) / unit }
        let cost = all.reduce(1) { max($0, $1.cost) } * unit
        let (matvec, packedProduct) = (kernels.matvec!, kernels.packed_product!)
        // The threads count no references to what they share
        all.withUnsafeBufferPointer { all in
            threads.forRanges(units, minimum: max(1, (1 << 15) / cost)) { range in
                var start = 0
                for one in all {
                    let count = (one.outputs + unit - 1) / unit
                    let part = range.clamped(to: start..<start + count)
                    let begin = (part.lowerBound - start) * unit
                    let end = min(one.outputs, (part.upperBound - start) * unit)
                    start += count
                    guard begin < end else { continue }
                    switch one {
                    case .dense(var arguments): matvec(&arguments, begin, end)
                    case .packed(var arguments): packedProduct(&arguments, begin, end)
                    }
                }
            }
        }
    }

    /// Splits the outputs of all products, in whole pairs of panels, evenly between the threads, and adds the outer
    /// products of their updates.
    private func run(
        _ all: [FewRowsProduct], _ updates: [[moru_low_rank]], _ ahead: [UnsafeRawBufferPointer]
    ) {
        guard !updates.isEmpty || !ahead.isEmpty else { return run(all) }
        let unit = 2 * Int(MORU_PANEL)
        let units = all.map { ($0.outputs + unit - 1) / unit }
        var costs = all.map { $0.cost * unit }
        for (index, own) in updates.enumerated() {
            for update in own { costs[index] += update.rank * (2 + update.rows) * unit }
        }
        let total = zip(units, costs).reduce(0) { $0 + $1.0 * $1.1 }
        /// The first unit that begins at a cost or after it.
        func unitIndex(_ cost: Int) -> Int {
            var (rest, start) = (cost, 0)
            for (count, each) in zip(units, costs) {
                if rest < count * each { return start + (rest + each - 1) / each }
                rest -= count * each
                start += count
            }
            return start
        }
        let parts = max(1, min(threads.threadCount, total >> 15))
        let (unitCount, aheadCount) = (units.reduce(0, +), ahead.reduce(0) { $0 + $1.count })
        threads.run(parts) { part in
            let range = unitIndex(total * part / parts)..<unitIndex(total * (part + 1) / parts)
            var start = 0
            for (index, count) in units.enumerated() {
                let own = range.clamped(to: start..<start + count)
                // Little at a time, so that what is asked for ahead comes while the rest is computed
                let step = aheadCount > 0 ? 2 : max(1, own.count)
                for first in stride(from: own.lowerBound, to: own.upperBound, by: step) {
                    let end = min(first + step, own.upperBound)
                    let columns = (first - start) * unit..<min(all[index].outputs, (end - start) * unit)
                    compute(all[index], columns, updates.isEmpty ? [] : updates[index])
                    if aheadCount > 0 {
                        prefetch(ahead, aheadCount * first / unitCount..<aheadCount * end / unitCount)
                    }
                }
                start += count
            }
        }
    }

    /// Computes some columns of a product, and adds the outer products of its updates.
    private func compute(_ product: FewRowsProduct, _ columns: Range<Int>, _ updates: [moru_low_rank]) {
        switch product {
        case .dense(var arguments): kernels.matvec(&arguments, columns.lowerBound, columns.upperBound)
        case .packed(var arguments): kernels.packed_product(&arguments, columns.lowerBound, columns.upperBound)
        }
        for var update in updates { Self.lowRankKernels.outer(&update, columns.lowerBound, columns.upperBound) }
    }
}
