import CMoruKernels

/// Products of the same few rows with several weights, low-rank updates of them included: the threads first share the
/// updates' inner products, then the outputs of all.
///
/// It counts no references: threads that share them would wait for each other. Its memory is used again by the next
/// products, until it is given back.
struct FewRowsProducts {
    /// One of the products.
    private struct Product {
        let weight: FewRowsWeight
        /// The rows that it is of.
        let rows: Range<Int>
        /// [rows.count, outputs].
        let y: UnsafeMutablePointer<Float>
        /// Its pairs of panels, numbered through all products.
        let units: Range<Int>
        /// What one of them costs.
        var cost: Int
        /// Its updates among all.
        var updates: Range<Int>
    }

    /// What a part costs at least.
    private static let worthSharing = 1 << 15

    private let kernels: FewRowsKernels
    private var input: FewRowsInput?
    private var products = GrowingMemory<Product>()
    private var count = 0
    private var unitCount = 0
    private var cost = 0
    private var updates: FewRowsUpdates
    /// What is asked for meanwhile.
    var ahead = MemoryAhead()

    init(_ kernels: FewRowsKernels) {
        self.kernels = kernels
        updates = FewRowsUpdates(kernels.updates)
    }

    /// Gives the memory back.
    func deallocate() {
        products.deallocate()
        updates.deallocate()
        ahead.deallocate()
    }

    /// Begins anew, with products of these rows.
    mutating func begin(_ input: FewRowsInput) {
        self.input = input
        (count, unitCount, cost) = (0, 0, 0)
        updates.removeAll()
        ahead.removeAll()
    }

    /// Appends the product of some of the rows with a weight, to be written to `y` [rows.count, outputs].
    mutating func append(_ weight: FewRowsWeight, rows: Range<Int>, to y: UnsafeMutablePointer<Float>) {
        let units = unitCount..<unitCount + weight.unitCount
        let unitCost = weight.cost(rows: rows.count) * FewRowsWeight.unit
        products.reserve(count + 1)
        products.base[count] = Product(
            weight: weight, rows: rows, y: y, units: units, cost: unitCost, updates: updates.count..<updates.count)
        count += 1
        unitCount = units.upperBound
        cost += units.count * unitCost
    }

    /// Adds an update of some rows to the product appended last, which is one of all rows.
    mutating func update(_ rows: Range<Int>, by factors: moru_low_rank) {
        guard let input else { return }
        let product = products.base + count - 1
        updates.append(factors, rows: rows, input.floats, product.pointee.y)
        let unitCost = factors.rank * (2 + rows.count) * FewRowsWeight.unit
        product.pointee.updates = product.pointee.updates.lowerBound..<updates.count
        product.pointee.cost += unitCost
        cost += product.pointee.units.count * unitCost
    }

    /// Says that all products and updates are there.
    mutating func end() { updates.settle() }

    /// Into how many parts the updates' inner products are worth being split.
    func innerParts(atMost most: Int) -> Int { updates.parts(atMost: most) }

    /// Computes a part of the updates' inner products.
    func computeInner(_ part: Int, of parts: Int) { updates.computeInner(part, of: parts) }

    /// Into how many parts the products are worth being split.
    func parts(atMost most: Int) -> Int { max(1, min(most, cost / Self.worthSharing)) }

    /// Computes a part: as much as any other, in whole pairs of panels.
    ///
    /// - Parameter next: What the thread reads afterwards, and asks for with the last of the part.
    func compute(_ part: Int, of parts: Int, next: UnsafeRawBufferPointer = .nothing) {
        guard let input else { return }
        let range = firstUnit(of: part, parts)..<firstUnit(of: part + 1, parts)
        for index in 0..<count {
            let product = products.base[index]
            let own = range.clamped(to: product.units)
            // Little at a time, so that what is asked for ahead comes while the rest is computed
            let step = ahead.isEmpty ? max(1, own.count) : 2
            for first in stride(from: own.lowerBound, to: own.upperBound, by: step) {
                let end = min(first + step, own.upperBound)
                compute(first..<end, of: product, input, next: end < range.upperBound ? bytes(ofUnit: end) : next)
                if !ahead.isEmpty { ahead.prefetch(first..<end, of: unitCount) }
            }
        }
    }

    private func compute(
        _ units: Range<Int>, of product: Product, _ input: FewRowsInput, next: UnsafeRawBufferPointer
    ) {
        let begin = (units.lowerBound - product.units.lowerBound) * FewRowsWeight.unit
        let columns = begin..<min(product.weight.outputs, begin + units.count * FewRowsWeight.unit)
        product.weight.multiply(input, rows: product.rows, to: product.y, columns: columns, next: next, kernels)
        updates.addOuter(product.updates, columns)
    }

    /// The bytes of a unit of all products'.
    private func bytes(ofUnit number: Int) -> UnsafeRawBufferPointer {
        for index in 0..<count where products.base[index].units.contains(number) {
            return products.base[index].weight.bytes(ofUnit: number - products.base[index].units.lowerBound)
        }
        return .nothing
    }

    /// Where a part begins: at the first unit that begins at its share of the cost or after it.
    private func firstUnit(of part: Int, _ parts: Int) -> Int {
        var rest = cost * part / parts
        for index in 0..<count {
            let (units, unitCost) = (products.base[index].units, products.base[index].cost)
            if rest < units.count * unitCost { return units.lowerBound + (rest + unitCost - 1) / unitCost }
            rest -= units.count * unitCost
        }
        return unitCount
    }
}

extension UnsafeRawBufferPointer {
    /// No bytes.
    static var nothing: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: nil, count: 0) }
}
