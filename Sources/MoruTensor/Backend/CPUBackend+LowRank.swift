import CMoruKernels

extension CPUBackend {
    static let lowRankKernels = moru_low_rank_kernels_for(Runtime.shared.kernels.level).pointee

    /// Writes the products of some rows [rows, k] with projections, low-rank updates of some rows included, biases not.
    ///
    /// - Parameter next: Updates that are computed soon: their matrices are asked for meanwhile.
    func multiplyFewRows(
        _ x: UnsafePointer<Float>, rows: Int,
        _ projections: [(projection: DecoderLayer.Projection, y: UnsafeMutablePointer<Float>)],
        next: ArraySlice<DecoderLayer.Update> = []
    ) {
        let products = projections.map { (0..<rows, $0.projection.weight, $0.y) }
        let count = projections.reduce(0) { count, one in
            one.projection.updates.reduce(count) { $0 + $1.rows.count * $1.arguments.rank }
        }
        let ahead = next.isEmpty ? [] : Self.read(next)
        guard count > 0 else { return multiplyFewRows(x, rows: rows, products, ahead: ahead) }
        withScratch(count * MemoryLayout<Float>.size) { scratch in
            var inner = scratch.bindMemory(to: Float.self, capacity: count)
            let updates = projections.map { projection, y in
                projection.updates.map { update -> moru_low_rank in
                    let (first, own) = (update.rows.lowerBound, inner)
                    inner += update.rows.count * update.arguments.rank
                    return arguments(
                        update.arguments, rows: update.rows.count, x + first * update.arguments.k, own,
                        y + first * update.arguments.n)
                }
            }
            multiplyFewRows(x, rows: rows, products, updates: updates, ahead: ahead)
        }
        withExtendedLifetime(projections) {}
    }

    /// Bytes that are asked for ahead at most: more would drive each other out of the cache.
    private static let aheadLimit = 1 << 19

    /// What is read for updates, the same matrices once, up to the limit.
    private static func read(_ updates: ArraySlice<DecoderLayer.Update>) -> [UnsafeRawBufferPointer] {
        var (parts, count): ([UnsafeRawBufferPointer], Int) = ([], 0)
        for update in updates {
            let bytes = update.arguments.bytes
            if count + bytes.count > aheadLimit { break }
            if parts.contains(where: { $0.baseAddress == bytes.baseAddress }) { continue }
            parts.append(bytes)
            count += bytes.count
        }
        return parts
    }

    /// Asks for a range of the bytes of some parts, numbered from the first part's beginning.
    func prefetch(_ parts: [UnsafeRawBufferPointer], _ range: Range<Int>) {
        var start = 0
        for part in parts {
            let own = range.clamped(to: start..<start + part.count)
            if !own.isEmpty, let base = part.baseAddress { moru_prefetch(base + (own.lowerBound - start), own.count) }
            start += part.count
        }
    }

    func addUpdate(_ factors: LowRankFactors, of x: Tensor, to product: Tensor) -> Tensor {
        let (sum, rows) = (product.copied(), x.shape[0])
        let count = rows * factors.arguments.rank
        withScratch(count * MemoryLayout<Float>.size) { scratch in
            let inner = scratch.bindMemory(to: Float.self, capacity: count)
            let update = arguments(factors.arguments, rows: rows, x.floats, inner, sum.floats)
            computeInner([update])
            withUnsafePointer(to: update) { Self.lowRankKernels.outer($0, 0, $0.pointee.n) }
        }
        return withExtendedLifetime((factors, x)) { sum }
    }

    private func arguments(
        _ update: moru_low_rank, rows: Int, _ x: UnsafePointer<Float>, _ inner: UnsafeMutablePointer<Float>,
        _ y: UnsafeMutablePointer<Float>
    ) -> moru_low_rank {
        var update = update
        update.rows = rows
        (update.x, update.x_row_stride, update.inner) = (x, update.k, inner)
        (update.y, update.y_row_stride) = (y, update.n)
        return update
    }

    /// Computes the inner products of updates, and whatever else the threads may share beside them: `other` gets parts
    /// of a whole, as numbers of it.
    func computeInner(_ updates: [moru_low_rank], beside other: (_ part: Int, _ parts: Int) -> Void = { _, _ in }) {
        let total = updates.reduce(0) { $0 + $1.rank }
        let cost = updates.reduce(1) { max($0, $1.k * (2 + $1.rows)) }
        let parts = max(1, min(threads.threadCount, total * cost >> 15))
        threads.run(parts) { part in
            other(part, parts)
            let range = total * part / parts..<total * (part + 1) / parts
            var start = 0
            for var update in updates {
                let own = range.clamped(to: start..<start + update.rank)
                if !own.isEmpty { Self.lowRankKernels.inner(&update, own.lowerBound - start, own.upperBound - start) }
                start += update.rank
            }
        }
    }
}
