import Foundation

/// How the learning rate moves over a run: a linear warm-up, then a decay.
public struct LearningRateSchedule: Sendable, Hashable {
    /// The shape after the warm-up.
    public enum Shape: String, Sendable, Hashable, CaseIterable, Codable {
        /// The peak rate throughout.
        case constant
        /// A straight line down to the final rate.
        case linear
        /// Half a cosine down to the final rate (Loshchilov and Hutter, 2017).
        case cosine
        /// The peak rate, then a straight line down over the last part of the run: warm-up, stable, decay (Hu et al.,
        /// 2024).
        case warmupStableDecay = "wsd"
    }

    /// The shape after the warm-up.
    public var shape: Shape
    /// The highest rate.
    public var peak: Float
    /// The rate at the end, as a share of the peak.
    public var finalShare: Float
    /// Steps over which the rate rises from 0.
    public var warmupSteps: Int
    /// Steps of the whole run.
    public var totalSteps: Int

    /// Of ``Shape/warmupStableDecay``: the share of the run over which the rate falls.
    public var decayShare: Float

    /// Makes a schedule.
    public init(
        _ shape: Shape, peak: Float, warmupSteps: Int, totalSteps: Int, finalShare: Float = 0, decayShare: Float = 0.2
    ) {
        self.shape = shape
        self.peak = peak
        self.finalShare = finalShare
        self.warmupSteps = warmupSteps
        self.totalSteps = totalSteps
        self.decayShare = decayShare
    }

    /// The rate of a step, counted from 0.
    public func rate(at step: Int) -> Float {
        if step < warmupSteps { return peak * Float(step + 1) / Float(warmupSteps) }
        let length = max(1, totalSteps - warmupSteps)
        let progress = min(1, Float(step - warmupSteps) / Float(length))
        let share: Float =
            switch shape {
            case .constant: 1
            case .linear: finalShare + (1 - finalShare) * (1 - progress)
            case .cosine: finalShare + (1 - finalShare) * 0.5 * (1 + cos(.pi * progress))
            case .warmupStableDecay: finalShare + (1 - finalShare) * min(1, remaining(at: step))
            }
        return peak * share
    }

    /// How much of the final decay lies ahead, more than 1 before it.
    private func remaining(at step: Int) -> Float {
        let length = max(1, (decayShare * Float(totalSteps)).rounded())
        return max(0, Float(totalSteps - step)) / length
    }
}
