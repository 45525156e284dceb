import CMoruKernels

/// Products of the same few rows with several weights, low-rank updates of them included: the threads first share the
/// updates' inner products, then the outputs of all.
///
/// A part is as much of all outputs as any other: some outputs of one product, then of the next, ... Products beside each
/// other are cut at the same places, so that one part has what belongs together.
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
        /// Its pairs of panels, numbered through all products; those beside each other share their numbers.
        let units: Range<Int>
        /// What one of them costs, and those beside it that came later: 0 for these.
        var cost: Int
        /// Its updates among all.
        var updates: Range<Int>

        /// The outputs of some of its units.
        func columns(_ units: Range<Int>) -> Range<Int> {
            let (first, unit, outputs) = (self.units.lowerBound, FewRowsWeight.unit, weight.outputs)
            return min(outputs, (units.lowerBound - first) * unit)..<min(outputs, (units.upperBound - first) * unit)
        }

        /// The weight's bytes of one of its units.
        func bytes(ofUnit number: Int) -> UnsafeRawBufferPointer { weight.bytes(ofUnit: number - units.lowerBound) }
    }

    /// What a part costs at least.
    private static let worthSharing = 1 << 15

    private let kernels: FewRowsKernels
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

    /// Begins anew.
    mutating func begin() {
        (count, unitCount, cost) = (0, 0, 0)
        updates.removeAll()
        ahead.removeAll()
    }

    /// Appends the product of some of the rows with a weight, to be written to `y` [rows.count, outputs].
    ///
    /// - Parameter isBeside: Whether a part that computes some outputs of the product before, of as many outputs, computes
    ///   the same of this one.
    mutating func append(
        _ weight: FewRowsWeight, rows: Range<Int>, to y: UnsafeMutablePointer<Float>, isBeside: Bool = false
    ) {
        let first = isBeside ? unitCount - weight.unitCount : unitCount
        products.reserve(count + 1)
        products.base[count] = Product(
            weight: weight, rows: rows, y: y, units: first..<first + weight.unitCount, cost: 0,
            updates: updates.count..<updates.count)
        count += 1
        unitCount = first + weight.unitCount
        addCost(weight.cost(rows: rows.count) * FewRowsWeight.unit)
    }

    /// Adds what a unit of the last product costs to the costs of the first one beside it.
    private mutating func addCost(_ unitCost: Int) {
        let units = products.base[count - 1].units
        var first = count - 1
        while first > 0, products.base[first - 1].units == units { first -= 1 }
        products.base[first].cost += unitCost
        cost += units.count * unitCost
    }

    /// Adds an update of some rows to the product appended last, which is one of all rows.
    mutating func update(_ rows: Range<Int>, by factors: moru_low_rank) {
        let product = products.base + count - 1
        updates.append(factors, rows: rows, product.pointee.y)
        let unitCost = factors.rank * (2 + rows.count) * FewRowsWeight.unit
        product.pointee.updates = product.pointee.updates.lowerBound..<updates.count
        addCost(unitCost)
    }

    /// Says that all products and updates are there.
    mutating func end() { updates.settle() }

    /// Into how many parts the updates' inner products are worth being split: none where there are no updates.
    func innerParts(atMost most: Int) -> Int { updates.parts(atMost: most) }

    /// Computes a part of the updates' inner products.
    func computeInner(_ part: Int, of parts: Int, _ input: FewRowsInput) {
        updates.computeInner(part, of: parts, input.floats)
    }

    /// Into how many parts the products are worth being split.
    func parts(atMost most: Int) -> Int { Self.parts(ofCost: cost, atMost: most) }

    /// Likewise, of products of a known cost.
    static func parts(ofCost cost: Int, atMost most: Int) -> Int { max(1, min(most, cost / worthSharing)) }

    /// The units of a part, which are as much work as those of any other.
    func units(of part: Int, _ parts: Int) -> Range<Int> {
        let all = (0..<count).lazy.map { (count: products.base[$0].units.count, cost: products.base[$0].cost) }
        return FewRowsWeight.firstUnit(of: part, parts, all)..<FewRowsWeight.firstUnit(of: part + 1, parts, all)
    }

    /// The columns of a product that some units are.
    func columns(_ units: Range<Int>, ofProduct index: Int) -> Range<Int> {
        products.base[index].columns(units.clamped(to: products.base[index].units))
    }

    /// Computes some units of all products.
    ///
    /// - Parameter next: What the thread reads afterwards, and asks for with the last of them.
    func compute(_ units: Range<Int>, _ input: FewRowsInput, next: UnsafeRawBufferPointer = .nothing) {
        for index in 0..<count {
            let product = products.base[index]
            let own = units.clamped(to: product.units)
            guard !own.isEmpty else { continue }
            let following = firstBytes(of: units, from: index + 1) ?? next
            // Little at a time, so that what is asked for ahead comes while the rest is computed
            let step = ahead.isEmpty ? own.count : 2
            for first in stride(from: own.lowerBound, to: own.upperBound, by: step) {
                let units = first..<min(first + step, own.upperBound)
                compute(
                    units, of: product, input,
                    next: units.upperBound < own.upperBound ? product.bytes(ofUnit: units.upperBound) : following)
                if product.cost > 0 { ahead.prefetch(units, of: unitCount) }
            }
        }
    }

    private func compute(
        _ units: Range<Int>, of product: Product, _ input: FewRowsInput, next: UnsafeRawBufferPointer
    ) {
        let columns = product.columns(units)
        product.weight.multiply(input, rows: product.rows, to: product.y, columns: columns, next: next, kernels)
        updates.addOuter(product.updates, columns)
    }

    /// The first bytes that some units read of a product or those after it.
    private func firstBytes(of units: Range<Int>, from index: Int) -> UnsafeRawBufferPointer? {
        for index in index..<count {
            let own = units.clamped(to: products.base[index].units)
            if !own.isEmpty { return products.base[index].bytes(ofUnit: own.lowerBound) }
        }
        return nil
    }

}

extension FewRowsWeight {
    /// Where a part begins among units of several costs: at the first one that begins at its share of all costs or after.
    static func firstUnit(of part: Int, _ parts: Int, _ units: some Sequence<(count: Int, cost: Int)>) -> Int {
        var rest = units.reduce(0) { $0 + $1.count * $1.cost } * part / parts
        var first = 0
        // Those beside others cost nothing, and share their numbers
        for (count, cost) in units where cost > 0 {
            if rest < count * cost { return first + (rest + cost - 1) / cost }
            rest -= count * cost
            first += count
        }
        return first
    }
}

extension UnsafeRawBufferPointer {
    /// No bytes.
    static var nothing: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: nil, count: 0) }
}
