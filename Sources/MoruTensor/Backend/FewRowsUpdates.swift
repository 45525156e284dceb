import CMoruKernels

/// Low-rank updates of some products' rows, whose inner products the threads share.
struct FewRowsUpdates {
    private struct Update {
        /// Without the rows that it is of, which each thread may have for itself.
        var arguments: moru_low_rank
        /// Where these begin.
        let firstRow: Int
    }

    private let kernels: moru_low_rank_kernels
    private var updates = GrowingMemory<Update>()
    private var inner = GrowingMemory<Float>()
    private(set) var count = 0
    private var rankCount = 0
    private var innerCount = 0
    private var rankCost = 1

    init(_ kernels: moru_low_rank_kernels) { self.kernels = kernels }

    /// Gives the memory back.
    func deallocate() {
        updates.deallocate()
        inner.deallocate()
    }

    /// Forgets the updates, and keeps the memory for others.
    mutating func removeAll() { (count, rankCount, innerCount, rankCost) = (0, 0, 0, 1) }

    /// Appends an update of some rows of the products `y` [rows, n].
    mutating func append(_ factors: moru_low_rank, rows: Range<Int>, _ y: UnsafeMutablePointer<Float>) {
        var update = factors
        (update.rows, update.x_row_stride) = (rows.count, update.k)
        (update.y, update.y_row_stride) = (y + rows.lowerBound * update.n, update.n)
        updates.reserve(count + 1)
        updates.base[count] = Update(arguments: update, firstRow: rows.lowerBound)
        count += 1
        rankCount += update.rank
        innerCount += rows.count * update.rank
        rankCost = max(rankCost, update.k * (2 + rows.count))
    }

    /// Gives the inner products their place, when all updates are there.
    mutating func settle() {
        guard count > 0 else { return }
        inner.reserve(innerCount)
        var next = inner.base
        for index in 0..<count {
            updates.base[index].arguments.inner = next
            next += updates.base[index].arguments.rows * updates.base[index].arguments.rank
        }
    }

    /// Into how many parts the inner products are worth being split, at most: none where there are no updates.
    func parts(atMost most: Int) -> Int { count == 0 ? 0 : max(1, min(most, rankCount * rankCost >> 15)) }

    /// Computes a part of the inner products with the rows of `x` [rows, k].
    func computeInner(_ part: Int, of parts: Int, _ x: UnsafePointer<Float>) {
        let range = rankCount * part / parts..<rankCount * (part + 1) / parts
        var start = 0
        for index in 0..<count {
            var update = updates.base[index].arguments
            let own = range.clamped(to: start..<start + update.rank)
            update.x = x + updates.base[index].firstRow * update.k
            if !own.isEmpty { kernels.inner(&update, own.lowerBound - start, own.upperBound - start) }
            start += update.rank
        }
    }

    /// Adds some columns of the outer products of some updates, by the order in which they came, to the products.
    func addOuter(_ range: Range<Int>, _ columns: Range<Int>) {
        for index in range {
            var update = updates.base[index].arguments
            kernels.outer(&update, columns.lowerBound, columns.upperBound)
        }
    }
}

extension CPUBackend {
    func addUpdate(_ factors: LowRankFactors, of x: Tensor, to product: Tensor) -> Tensor {
        let sum = product.copied()
        var updates = FewRowsUpdates(runtime.lowRank)
        defer { updates.deallocate() }
        updates.append(factors.arguments, rows: 0..<x.shape[0], sum.floats)
        updates.settle()
        let parts = updates.parts(atMost: threads.threadCount)
        threads.run(parts) { [updates] in updates.computeInner($0, of: parts, x.floats) }
        updates.addOuter(0..<1, 0..<factors.arguments.n)
        return withExtendedLifetime((factors, x)) { sum }
    }
}
