import CMoruKernels

/// What each thread reads first of the weights of a decoder's layers, so that it can ask for them while it waits for the
/// others. Adapters may move where it begins: then some of what it asks for is not read next.
final class DecoderReads {
    /// The steps of a layer that read weights, in their order.
    private static let steps = [DecoderStep.queryKeyValue, .output, .gateUp, .down]

    private let threadCount: Int
    /// The first bytes [layers, steps, threads].
    private let first: UnsafeMutableBufferPointer<UnsafeRawBufferPointer>

    init(_ layers: UnsafeMutableBufferPointer<CPUDecoderLayer>, threadCount: Int) {
        self.threadCount = threadCount
        first = .allocate(capacity: layers.count * Self.steps.count * threadCount)
        let places = layers.flatMap { layer in
            Self.steps.flatMap { step in
                let weights = layer.weights(of: step)
                return (0..<threadCount).map { Self.first($0, of: threadCount, weights) }
            }
        }
        _ = first.initialize(from: places)
    }

    deinit { first.deallocate() }

    /// What a thread reads first after a step.
    func after(_ step: DecoderStep, ofLayer number: Int, thread: Int) -> UnsafeRawBufferPointer {
        let place = (number * Self.steps.count + step.productsBefore) * threadCount + thread
        return place < first.count ? first[place] : .nothing
    }

    /// What a thread reads first of one row's products with weights, split as ``FewRowsProducts`` splits them.
    static func first(_ thread: Int, of threadCount: Int, _ weights: [FewRowsWeight]) -> UnsafeRawBufferPointer {
        let costs = weights.map { $0.cost(rows: 1) * $0.unitCount }
        var before = costs.reduce(0, +) * thread / threadCount
        for (weight, cost) in zip(weights, costs) where cost > 0 {
            let unit = (before * weight.unitCount + cost - 1) / cost
            if unit < weight.unitCount { return weight.bytes(ofUnit: unit) }
            before = max(0, before - cost)
        }
        return .nothing
    }
}
