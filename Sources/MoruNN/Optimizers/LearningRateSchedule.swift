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

    /// Makes a schedule.
    public init(_ shape: Shape, peak: Float, warmupSteps: Int, totalSteps: Int, finalShare: Float = 0) {
        self.shape = shape
        self.peak = peak
        self.finalShare = finalShare
        self.warmupSteps = warmupSteps
        self.totalSteps = totalSteps
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
            }
        return peak * share
    }
}
