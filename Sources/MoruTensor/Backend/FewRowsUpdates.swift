import CMoruKernels

/// Low-rank updates of some products' rows, whose inner products the threads share.
struct FewRowsUpdates {
    private let kernels: moru_low_rank_kernels
    private var updates = GrowingMemory<moru_low_rank>()
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

    /// Appends an update of some rows: those of `x` [rows, k] and of the products `y` [rows, n].
    mutating func append(
        _ factors: moru_low_rank, rows: Range<Int>, _ x: UnsafePointer<Float>, _ y: UnsafeMutablePointer<Float>
    ) {
        var update = factors
        update.rows = rows.count
        (update.x, update.x_row_stride) = (x + rows.lowerBound * update.k, update.k)
        (update.y, update.y_row_stride) = (y + rows.lowerBound * update.n, update.n)
        updates.reserve(count + 1)
        updates.base[count] = update
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
            updates.base[index].inner = next
            next += updates.base[index].rows * updates.base[index].rank
        }
    }

    /// Into how many parts the inner products are worth being split, at most.
    func parts(atMost most: Int) -> Int { max(1, min(most, rankCount * rankCost >> 15)) }

    /// Computes a part of the inner products.
    func computeInner(_ part: Int, of parts: Int) {
        let range = rankCount * part / parts..<rankCount * (part + 1) / parts
        var start = 0
        for index in 0..<count {
            let rank = updates.base[index].rank
            let own = range.clamped(to: start..<start + rank)
            if !own.isEmpty { kernels.inner(updates.base + index, own.lowerBound - start, own.upperBound - start) }
            start += rank
        }
    }

    /// Adds some columns of the outer products of some updates, by the order in which they came, to the products.
    func addOuter(_ range: Range<Int>, _ columns: Range<Int>) {
        for index in range { kernels.outer(updates.base + index, columns.lowerBound, columns.upperBound) }
    }
}

extension CPUBackend {
    func addUpdate(_ factors: LowRankFactors, of x: Tensor, to product: Tensor) -> Tensor {
        let sum = product.copied()
        var updates = FewRowsUpdates(runtime.lowRank)
        defer { updates.deallocate() }
        updates.append(factors.arguments, rows: 0..<x.shape[0], x.floats, sum.floats)
        updates.settle()
        let parts = updates.parts(atMost: threads.threadCount)
        threads.run(parts) { [updates] in updates.computeInner($0, of: parts) }
        updates.addOuter(0..<1, 0..<factors.arguments.n)
        return withExtendedLifetime((factors, x)) { sum }
    }
}
