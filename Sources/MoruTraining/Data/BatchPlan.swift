import MoruBase

/// Which examples each step learns from: the data in an order drawn anew for each epoch, cut into steps.
///
/// The plan of a step depends on the seed and the step alone and costs as much as the step has examples.
struct BatchPlan: Sendable {
    let order: EpochOrder
    let batchSize: Int
    let accumulation: Int

    /// A plan; batches larger than an epoch are as large as the epoch.
    init(order: EpochOrder, batchSize: Int, accumulation: Int) {
        self.order = order
        self.batchSize = max(1, min(batchSize, order.length))
        self.accumulation = max(1, min(accumulation, (order.length - 1) / self.batchSize + 1))
    }

    /// A plan over a single source.
    init(exampleCount: Int, batchSize: Int, accumulation: Int, seed: UInt64) {
        self.init(
            order: EpochOrder(count: exampleCount, seed: seed), batchSize: batchSize, accumulation: accumulation)
    }

    /// The plan of a task's training data.
    init(_ task: any TrainingTask, _ settings: TrainingSettings) {
        self.init(
            order: task.order(of: .training, seed: settings.seed), batchSize: settings.batchSize,
            accumulation: settings.gradientAccumulation)
    }

    /// Examples of a step; the last of an epoch may have fewer.
    private var stepSize: Int { batchSize * accumulation }
    /// Steps that pass over the data once; the last may be smaller.
    var stepsPerEpoch: Int { (order.length - 1) / stepSize + 1 }

    /// Where a step, counted from 0, begins.
    func position(at step: Int) -> DataPosition {
        DataPosition(seed: order.seed, epoch: step / stepsPerEpoch, index: step % stepsPerEpoch * stepSize)
    }

    /// The micro-batches of a step, counted from 0.
    func batches(at step: Int) -> [[Int]] {
        let begin = position(at: step)
        let end = min(begin.index + stepSize, order.length)
        return stride(from: begin.index, to: end, by: batchSize).map { first in
            (first..<min(first + batchSize, end)).map { order.example(epoch: begin.epoch, index: $0) }
        }
    }

    /// Examples in order, cut into batches, for validation.
    static func sequentialBatches(_ count: Int, size: Int) -> [[Int]] {
        let size = min(size, max(1, count))
        return stride(from: 0, to: count, by: size).map { Array($0..<min($0 + size, count)) }
    }
}
