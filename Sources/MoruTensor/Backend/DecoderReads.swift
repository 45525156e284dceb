import CMoruKernels

/// What each thread reads first of the weights of a decoder's layers, so that it can ask for them while it waits for the
/// others. Adapters may move where it begins: then some of what it asks for is not read next.
final class DecoderReads {
    private let threadCount: Int
    /// The first bytes [layers, products, threads].
    private let first: UnsafeMutableBufferPointer<UnsafeRawBufferPointer>

    init(_ layers: UnsafeMutableBufferPointer<CPUDecoderLayer>, threadCount: Int) {
        self.threadCount = threadCount
        first = .allocate(capacity: layers.count * DecoderProducts.allCases.count * threadCount)
        let places = layers.flatMap { layer in
            DecoderProducts.allCases.flatMap { products in
                let weights = layer.weights(of: products)
                return (0..<threadCount).map { Self.first($0, of: threadCount, weights) }
            }
        }
        _ = first.initialize(from: places)
    }

    deinit { first.deallocate() }

    /// What a thread reads first after a step.
    func after(_ step: DecoderStep, ofLayer number: Int, thread: Int) -> UnsafeRawBufferPointer {
        let place = (number * DecoderProducts.allCases.count + step.productsBefore) * threadCount + thread
        return place < first.count ? first[place] : .nothing
    }

    /// What a thread reads first of one row's products with weights, split as ``FewRowsProducts`` splits them.
    ///
    /// - Parameter weights: Those of products beside each other together.
    static func first(_ thread: Int, of threadCount: Int, _ weights: [[FewRowsWeight]]) -> UnsafeRawBufferPointer {
        let units = weights.map { group in
            (count: group.first?.unitCount ?? 0, cost: group.reduce(0) { $0 + $1.cost(rows: 1) })
        }
        var unit = FewRowsWeight.firstUnit(of: thread, threadCount, units)
        for (group, units) in zip(weights, units) {
            if unit < units.count { return group[0].bytes(ofUnit: unit) }
            unit -= units.count
        }
        return .nothing
    }
}
