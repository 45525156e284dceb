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

/// Elements that a step copies and moves at a time.
private let adamWBlock = 1 << 14

/// One AdamW step: the moved parameter, with its moments replaced by new ones. All tensors are f32 of one shape.
public func adamWStep(
    _ parameter: Tensor, gradient: Tensor, first: inout Tensor, second: inout Tensor, _ step: AdamWStep
) -> Tensor {
    for other in [gradient, first, second] { requireSameShape(parameter, other, "adamWStep") }
    let shape = parameter.shape
    let (moved, newFirst, newSecond) = (
        Tensor(uninitialized: shape), Tensor(uninitialized: shape), Tensor(uninitialized: shape)
    )
    let (oldFirst, oldSecond) = (first, second)
    let runtime = Runtime.shared
    var arguments = step.arguments
    withUnsafePointer(to: &arguments) { pointer in
        runtime.threads.forAlignedRanges(parameter.count, minimum: CPUBackend.grain) { range in
            // The kernel works in place: copy what fits the cache, then move it
            for begin in stride(from: range.lowerBound, to: range.upperBound, by: adamWBlock) {
                let end = min(range.upperBound, begin + adamWBlock)
                for (copy, old) in [(moved, parameter), (newFirst, oldFirst), (newSecond, oldSecond)] {
                    (copy.floats + begin).update(from: old.floats + begin, count: end - begin)
                }
                runtime.kernels.adamw(
                    pointer, moved.floats, gradient.floats, newFirst.floats, newSecond.floats, begin, end)
            }
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
    public func sumOfSquares() -> Double {
        let runtime = Runtime.shared
        // Parts of a fixed size, so that the sum does not depend on the number of threads
        let size = 1 << 18
        let parts = (count + size - 1) / size
        guard parts > 1 else { return runtime.kernels.sum_of_squares(floats, 0, count) }
        var sums = [Double](repeating: 0, count: parts)
        sums.withUnsafeMutableBufferPointer { sums in
            nonisolated(unsafe) let sums = sums
            runtime.threads.run(parts) { part in
                sums[part] = runtime.kernels.sum_of_squares(floats, part * size, min(count, (part + 1) * size))
            }
        }
        return sums.reduce(0, +)
    }

    /// Whether every element of an f32 tensor is finite.
    public var isFinite: Bool { Runtime.shared.kernels.all_finite(floats, 0, count) }
}
