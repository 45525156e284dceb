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

    /// A product among others whose outputs the threads share.
    private struct Share {
        var product: FewRowsProduct
        /// Its pairs of panels, numbered through all products.
        var units: Range<Int>
        /// What one of them costs.
        var cost: Int
        /// Its updates among all.
        var updates: Range<Int>
    }

    /// Splits the outputs of all products, in whole pairs of panels, evenly between the threads, and adds the outer
    /// products of their updates.
    private func run(
        _ all: [FewRowsProduct], _ updates: [[moru_low_rank]], _ ahead: [UnsafeRawBufferPointer]
    ) {
        let unit = 2 * Int(MORU_PANEL)
        let allUpdates = Array(updates.joined())
        var shares: [Share] = []
        shares.reserveCapacity(all.count)
        var (unitCount, updateCount, total) = (0, 0, 0)
        for (index, product) in all.enumerated() {
            var cost = product.cost * unit
            let own = updates.isEmpty ? 0 : updates[index].count
            for update in allUpdates[updateCount..<updateCount + own] { cost += update.rank * (2 + update.rows) * unit }
            let end = unitCount + (product.outputs + unit - 1) / unit
            shares.append(
                Share(
                    product: product, units: unitCount..<end, cost: cost, updates: updateCount..<updateCount + own))
            total += (end - unitCount) * cost
            (unitCount, updateCount) = (end, updateCount + own)
        }
        let parts = max(1, min(threads.threadCount, total >> 15))
        let aheadCount = ahead.reduce(0) { $0 + $1.count }
        let (matvec, packedProduct) = (kernels.matvec!, kernels.packed_product!)
        // The threads count no references to what they share
        shares.withUnsafeBufferPointer { shares in
            allUpdates.withUnsafeBufferPointer { allUpdates in
                threads.run(parts) { [total, unitCount] part in
                    let begin = Self.unitIndex(of: total * part / parts, shares)
                    let range = begin..<Self.unitIndex(of: total * (part + 1) / parts, shares)
                    for share in shares {
                        let own = range.clamped(to: share.units)
                        // Little at a time, so that what is asked for ahead comes while the rest is computed
                        let step = aheadCount > 0 ? 2 : max(1, own.count)
                        for first in stride(from: own.lowerBound, to: own.upperBound, by: step) {
                            let (start, end) = (share.units.lowerBound, min(first + step, own.upperBound))
                            let columns = (first - start) * unit..<min(share.product.outputs, (end - start) * unit)
                            switch share.product {
                            case .dense(var product): matvec(&product, columns.lowerBound, columns.upperBound)
                            case .packed(var product):
                                packedProduct(&product, columns.lowerBound, columns.upperBound)
                            }
                            for index in share.updates {
                                Self.lowRankKernels.outer(
                                    allUpdates.baseAddress! + index, columns.lowerBound, columns.upperBound)
                            }
                            if aheadCount > 0 {
                                prefetch(ahead, aheadCount * first / unitCount..<aheadCount * end / unitCount)
                            }
                        }
                    }
                }
            }
        }
    }

    /// The first unit that begins at a cost or after it.
    private static func unitIndex(of cost: Int, _ shares: UnsafeBufferPointer<Share>) -> Int {
        var rest = cost
        for share in shares {
            if rest < share.units.count * share.cost {
                return share.units.lowerBound + (rest + share.cost - 1) / share.cost
            }
            rest -= share.units.count * share.cost
        }
        return shares.last?.units.upperBound ?? 0
    }
}
