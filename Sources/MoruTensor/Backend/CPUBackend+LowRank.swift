import CMoruKernels

extension CPUBackend {
    /// Writes the products of some rows [rows, k] with projections, low-rank updates of some rows included, biases not.
    ///
    /// The threads share the updates' inner products in one loop with the projections' own, and then all their outer ones.
    func multiplyFewRows(
        _ x: UnsafePointer<Float>, rows: Int,
        _ projections: [(projection: DecoderLayer.Projection, y: UnsafeMutablePointer<Float>)]
    ) {
        let products = projections.map { (0..<rows, $0.projection.weight, $0.y) }
        let count = projections.reduce(0) { $0 + $1.projection.updates.reduce(0) { $0 + $1.innerCount } }
        guard count > 0 else { return multiplyFewRows(x, rows: rows, products) }
        withScratch(count * MemoryLayout<Float>.size) { scratch in
            var result = scratch.bindMemory(to: Float.self, capacity: count)
            // Arguments without tensors: there may be many, and nothing in them is to be counted
            var (inner, outer): ([moru_matvec], [OuterProduct]) = ([], [])
            for (projection, y) in projections {
                for update in projection.updates {
                    inner.append(denseArguments(x, update.rows, update.a, result))
                    let start = y + update.rows.lowerBound * update.b.shape[0]
                    outer.append(
                        OuterProduct(
                            product: denseArguments(result, 0..<update.rows.count, update.b, start),
                            scale: update.scale))
                    result += update.innerCount
                }
            }
            multiplyFewRows(x, rows: rows, products, beside: inner)
            add(outer)
        }
        withExtendedLifetime(projections) {}
    }

    /// A product that is added to its result, scaled.
    private struct OuterProduct {
        let product: moru_matvec
        let scale: Float
    }

    private func add(_ all: [OuterProduct]) {
        let unit = 64
        let units = all.reduce(0) { $0 + ($1.product.n + unit - 1) / unit }
        let cost = all.reduce(1) { max($0, $1.product.rows * $1.product.k) } * unit
        threads.forRanges(units, minimum: max(1, (1 << 15) / cost)) { range in
            var start = 0
            for one in all {
                let count = (one.product.n + unit - 1) / unit
                let part = range.clamped(to: start..<start + count)
                let end = min(one.product.n, (part.upperBound - start) * unit)
                if !part.isEmpty { add(one, columns: (part.lowerBound - start) * unit..<end) }
                start += count
            }
        }
    }

    private func add(_ one: OuterProduct, columns: Range<Int>) {
        var arguments = one.product
        withScratch(arguments.rows * columns.count * MemoryLayout<Float>.size) { scratch in
            let product = scratch.bindMemory(to: Float.self, capacity: arguments.rows * columns.count)
            (arguments.y, arguments.y_row_stride) = (product - columns.lowerBound, columns.count)
            kernels.matvec(&arguments, columns.lowerBound, columns.upperBound)
            for row in 0..<arguments.rows {
                kernels.add_scaled(
                    product + row * columns.count, one.scale,
                    one.product.y + row * one.product.y_row_stride + columns.lowerBound, 0, columns.count)
            }
        }
    }
}

extension DecoderLayer.Update {
    /// Elements of the products with the first matrix.
    fileprivate var innerCount: Int { rows.count * a.shape[0] }
}
