import CMoruKernels
import Foundation

/// The numbers of one AdamW step (Loshchilov and Hutter, 2019).
public struct AdamWStep: Sendable {
    let arguments: moru_adamw

    /// The step with the given number, counted from 1.
    public init(
        learningRate: Float, beta1: Float, beta2: Float, epsilon: Float, weightDecay: Float, step: Int,
        gradientScale: Float = 1
    ) {
        arguments = moru_adamw(
            learning_rate: learningRate, beta1: beta1, beta2: beta2, epsilon: epsilon, weight_decay: weightDecay,
            bias_correction1: Float(1 - pow(Double(beta1), Double(step))),
            bias_correction2: Float(1 - pow(Double(beta2), Double(step))), gradient_scale: gradientScale)
    }
}

/// One AdamW step: the moved parameter, with its moments replaced by new ones. All tensors are f32 of one shape.
public func adamWStep(
    _ parameter: Tensor, gradient: Tensor, first: inout Tensor, second: inout Tensor, _ step: AdamWStep
) -> Tensor {
    requireSameShape(parameter, gradient, "adamWStep")
    let (moved, newFirst, newSecond) = (parameter.copied(), first.copied(), second.copied())
    let runtime = Runtime.shared
    var arguments = step.arguments
    withUnsafePointer(to: &arguments) { pointer in
        runtime.threads.forRanges(parameter.count, minimum: CPUBackend.grain) {
            runtime.kernels.adamw(
                pointer, moved.floats, gradient.floats, newFirst.floats, newSecond.floats, $0.lowerBound, $0.upperBound)
        }
    }
    (first, second) = (newFirst, newSecond)
    return moved
}

extension Tensor {
    /// The same values in memory of their own.
    package func copied() -> Tensor {
        let copy = Tensor(uninitialized: shape, dtype: dtype)
        copy.storage.base.copyMemory(from: bytes, byteCount: byteCount)
        return copy
    }

    /// The sum of the squares of an f32 tensor, in double precision.
    public func sumOfSquares() -> Double { Runtime.shared.kernels.sum_of_squares(floats, 0, count) }

    /// Whether every element of an f32 tensor is finite.
    public var isFinite: Bool { Runtime.shared.kernels.all_finite(floats, 0, count) }
}
