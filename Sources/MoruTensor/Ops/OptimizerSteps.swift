import CMoruKernels
import Foundation
import Synchronization

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

extension Tensor {
    /// Moves this f32 tensor by a step of AdamW, in place; the gradient and the moments have its shape.
    public mutating func step(_ step: AdamWStep, gradient: Tensor, first: inout Tensor, second: inout Tensor) {
        for other in [gradient, first, second] { requireSameShape(self, other, "AdamW") }
        makeUnique()
        first.makeUnique()
        second.makeUnique()
        let runtime = Runtime.shared
        let (parameter, moment1, moment2) = (floats, first.floats, second.floats)
        withUnsafePointer(to: step.arguments) { arguments in
            runtime.threads.forAlignedRanges(count, minimum: CPUBackend.grain) {
                runtime.kernels.adamw(
                    arguments, parameter, gradient.floats, moment1, moment2, $0.lowerBound, $0.upperBound)
            }
        }
    }
}

extension Tensor {
    /// The shape of the i32 tensor that holds the moments of so many elements in 8 bits: blocks of 256, each of a scale and
    /// the elements' codes, four to a number. Zeros stand for zeros.
    package static func momentBlocks(_ count: Int) -> [Int] {
        let size = Int(MORU_MOMENT_BLOCK)
        return [(count + size - 1) / size, MemoryLayout<moru_moments>.stride / MemoryLayout<Int32>.stride]
    }

    /// Whether the scale of every block of moments (``momentBlocks(_:)``) is a finite number of at least 0.
    package var hasFiniteMomentScales: Bool {
        precondition(dtype == .i32 && shape.count == 2, "\(dtype)\(shape) holds no moments in 8 bits")
        let blocks = UnsafeRawPointer(bytes).assumingMemoryBound(to: moru_moments.self)
        return (0..<shape[0]).allSatisfy { blocks[$0].scale.isFinite && blocks[$0].scale >= 0 }
    }

    /// Moves this f32 tensor by a step of AdamW, in place, with moments in 8 bits (Dettmers et al., 2021).
    ///
    /// - Parameters:
    ///   - gradient: Of this tensor's shape.
    ///   - first: Both moments of all elements, in order, as ``momentBlocks(_:)`` lays them out.
    package mutating func step8Bit(
        _ step: AdamWStep, gradient: Tensor, first: inout Tensor, second: inout Tensor
    ) {
        requireSameShape(self, gradient, "AdamW")
        for moment in [first, second] {
            precondition(
                moment.shape == Self.momentBlocks(count) && moment.dtype == .i32,
                "AdamW: \(moment.dtype)\(moment.shape) holds no moments of \(shape)")
        }
        makeUnique()
        first.makeUnique()
        second.makeUnique()
        let (runtime, count, block) = (Runtime.shared, count, Int(MORU_MOMENT_BLOCK))
        let (parameter, blocks) = (floats, first.shape[0])
        let moments = [first, second].map { UnsafeMutableRawPointer(mutating: $0.bytes) }
            .map { $0.assumingMemoryBound(to: moru_moments.self) }
        withUnsafePointer(to: step.arguments) { arguments in
            runtime.threads.forRanges(blocks, minimum: CPUBackend.grain / block, partsPerThread: 4) {
                runtime.kernels.adamw_8bit(
                    arguments, parameter, gradient.floats, moments[0], moments[1], $0.lowerBound * block,
                    min(count, $0.upperBound * block))
            }
        }
    }
}

extension Tensor {
    /// A tensor whose bytes are all 0.
    package init(zeroed shape: [Int], _ dtype: DType) {
        self.init(uninitialized: shape, dtype: dtype)
        storage.base.initializeMemory(as: UInt8.self, repeating: 0, count: byteCount)
    }

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
            nonisolated(unsafe) let sums = sums  // each part writes its own element
            runtime.threads.run(parts) { part in
                sums[part] = runtime.kernels.sum_of_squares(floats, part * size, min(count, (part + 1) * size))
            }
        }
        return sums.reduce(0, +)
    }

    /// Whether every element of an f32 tensor is finite.
    public var isFinite: Bool {
        let runtime = Runtime.shared
        let isFinite = Atomic(true)
        runtime.threads.forAlignedRanges(count, minimum: 1 << 18) {
            if !runtime.kernels.all_finite(floats, $0.lowerBound, $0.upperBound) {
                isFinite.store(false, ordering: .relaxed)
            }
        }
        return isFinite.load(ordering: .relaxed)
    }
}
