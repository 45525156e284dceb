import MoruNN
import MoruTensor

/// How parameters move over a run: its length, its batches, its learning rate, and when it looks up from its work.
public struct TrainingSettings: Sendable, Hashable {
    /// How long a run is.
    public enum Length: Sendable, Hashable {
        /// Passes over the data.
        case epochs(Int)
        /// Optimizer steps.
        case steps(Int)
    }

    /// How long the learning rate rises.
    public enum Warmup: Sendable, Hashable {
        /// For some steps.
        case steps(Int)
        /// For a share of the run, 0 to 1.
        case share(Float)
    }

    /// How long the run is.
    public var length = Length.epochs(1)
    /// Examples that pass through the model together.
    public var batchSize = 8
    /// Batches whose gradients are summed before the parameters move.
    public var gradientAccumulation = 1
    /// The highest learning rate.
    public var learningRate: Float = 2e-4
    /// How the rate falls after the warm-up.
    public var schedule = LearningRateSchedule.Shape.cosine
    /// How long the rate rises.
    public var warmup = Warmup.share(0.03)
    /// The rate at the end, as a share of the highest.
    public var finalLearningRateShare: Float = 0
    /// With ``LearningRateSchedule/Shape/warmupStableDecay``: the share of the run over which the rate falls.
    public var decayShare: Float = 0.2
    /// Which optimizer, and its settings.
    public var optimizer = OptimizerSettings()
    /// The decay of the weights' moving average, which is then measured and saved in their place; nil for none.
    public var averageDecay: Float?
    /// When the run ends because it no longer gets better.
    public var earlyStopping = EarlyStopping()
    /// Gradients are scaled down to this norm when they exceed it; 0 leaves them alone, and needs less memory: nothing
    /// has to be known of all gradients together, so that each parameter moves as soon as its own is complete.
    public var clipNorm: Float = 1
    /// Decides the order of the data, the adapter's start and dropout.
    public var seed: UInt64 = 0
    /// Steps between validations; nil for the end of each epoch. The last step always validates.
    public var evaluateEvery: Int?
    /// Whether to validate before the first step too.
    public var evaluatesAtStart = false
    /// Steps between checkpoints; nil for the end of each epoch. The last step always saves.
    public var saveEvery: Int?
    /// Steps between reports of the loss.
    public var logEvery = 1
    /// Checkpoints that are kept; older ones are removed.
    public var keep = 2
    /// How exactly matrix products are computed.
    public var precision = Precision.automatic
    /// Whether blocks compute their activations again for the backward pass rather than keep them: less memory for more
    /// time, and the same numbers.
    public var recomputesActivations = false

    /// The defaults.
    public init() {}

    /// Whether parameters move during the backward pass, and gradients are never in memory together (Lv et al., 2023:
    /// LOMO). The numbers are the same.
    var movesDuringBackwardPass: Bool { clipNorm == 0 }

    /// The steps of a run over data that takes `stepsPerEpoch` steps to pass.
    func totalSteps(stepsPerEpoch: Int) -> Int {
        switch length {
        case .epochs(let count): count * stepsPerEpoch
        case .steps(let count): count
        }
    }

    /// The learning rate over a run of some steps.
    func schedule(totalSteps: Int) -> LearningRateSchedule {
        let warmupSteps =
            switch warmup {
            case .steps(let count): count
            case .share(let share): Int((share * Float(totalSteps)).rounded(.up))
            }
        return LearningRateSchedule(
            schedule, peak: learningRate, warmupSteps: min(warmupSteps, totalSteps), totalSteps: totalSteps,
            finalShare: finalLearningRateShare, decayShare: decayShare)
    }
}

extension TrainingSettings {
    /// Runs `body` with matrix products as a run computes them: in this precision, or where it is left open in the
    /// task's, and those with weights that stay quantised as ``Precision/automatic`` says.
    func withProducts<Result>(_ body: () throws -> Result) rethrows -> Result {
        try Runtime.withPrecision(precision == .automatic ? Runtime.shared.precision : precision) {
            try Runtime.withByteProducts(true, body)
        }
    }
}
