import MoruTensor

/// Which examples each step learns from: the data in an order drawn anew for each epoch, cut into steps.
///
/// The plan of a step depends on the seed and the step alone, so that a resumed run needs no state to go on.
struct BatchPlan: Sendable {
    let exampleCount: Int
    let batchSize: Int
    let accumulation: Int
    let seed: UInt64

    /// A plan; batches larger than the data are as large as the data.
    init(exampleCount: Int, batchSize: Int, accumulation: Int, seed: UInt64) {
        self.exampleCount = exampleCount
        self.batchSize = min(batchSize, exampleCount)
        self.accumulation = min(accumulation, (exampleCount - 1) / self.batchSize + 1)
        self.seed = seed
    }

    /// Steps that pass over the data once; the last may be smaller.
    var stepsPerEpoch: Int { (exampleCount - 1) / (batchSize * accumulation) + 1 }

    /// The micro-batches of a step, counted from 0.
    func batches(at step: Int) -> [[Int]] {
        let order = self.order(ofEpoch: step / stepsPerEpoch)
        let begin = step % stepsPerEpoch * batchSize * accumulation
        let chosen = order[begin..<min(begin + batchSize * accumulation, exampleCount)]
        return stride(from: chosen.startIndex, to: chosen.endIndex, by: batchSize).map {
            Array(chosen[$0..<min($0 + batchSize, chosen.endIndex)])
        }
    }

    /// The order of the data in an epoch.
    func order(ofEpoch epoch: Int) -> [Int] {
        var generator = RandomGenerator(seed: derivedSeed(seed, UInt64(epoch)))
        return generator.permutation(exampleCount)
    }

    /// Examples in order, cut into batches, for validation.
    static func sequentialBatches(_ count: Int, size: Int) -> [[Int]] {
        let size = min(size, max(1, count))
        return stride(from: 0, to: count, by: size).map { Array($0..<min($0 + size, count)) }
    }
}
