import Foundation

extension Tensor {
    /// An f32 tensor of the given values, in row-major order.
    ///
    /// The shape must have as many elements as there are values.
    public init(_ values: [Float], shape: [Int]) {
        precondition(values.count == shape.reduce(1, *), "\(values.count) values do not fill shape \(shape)")
        self.init(uninitialized: shape)
        values.withUnsafeBufferPointer { source in
            if let base = source.baseAddress { floats.update(from: base, count: values.count) }
        }
    }

    /// A scalar.
    public init(_ value: Float) { self.init([value], shape: []) }

    /// A tensor of zeros.
    public static func zeros(_ shape: [Int]) -> Tensor { filled(0, shape) }

    /// A tensor of ones.
    public static func ones(_ shape: [Int]) -> Tensor { filled(1, shape) }

    /// An f32 tensor whose elements are all `value`.
    public static func filled(_ value: Float, _ shape: [Int]) -> Tensor {
        let result = Tensor(uninitialized: shape)
        Runtime.shared.threads.forRanges(result.count, minimum: 1 << 18) { range in
            (result.floats + range.lowerBound).update(repeating: value, count: range.count)
        }
        return result
    }

    /// An f32 tensor of normally distributed values.
    public static func normal(
        _ shape: [Int], mean: Float = 0, standardDeviation: Float = 1, using generator: inout RandomGenerator
    ) -> Tensor {
        let result = Tensor(uninitialized: shape)
        let values = result.floats
        for index in 0..<result.count { values[index] = mean + standardDeviation * generator.normal() }
        return result
    }

    /// An f32 tensor of values spread evenly over `-bound ... bound`.
    public static func uniform(_ shape: [Int], bound: Float, using generator: inout RandomGenerator) -> Tensor {
        let result = Tensor(uninitialized: shape)
        let values = result.floats
        for index in 0..<result.count { values[index] = bound * (2 * generator.uniform() - 1) }
        return result
    }

    /// The values as f32, whatever the dtype, in row-major order.
    public func values() -> [Float] {
        let source = converted(to: .f32)
        return withExtendedLifetime(source) {
            [Float](UnsafeBufferPointer(start: source.floats, count: source.count))
        }
    }

    /// The value of a tensor with one element.
    public var scalar: Float {
        precondition(count == 1, "a scalar is needed, this tensor is \(dtype)\(shape)")
        return values()[0]
    }

    /// The same values in another format.
    ///
    /// Integers do not convert, and neither does what ``DType/isWritable`` says no to. Rows of the last dimension must
    /// be whole blocks of a quantised format.
    ///
    /// Not differentiable: the result is followed by no gradient computation unless the dtype stays the same.
    public func converted(to target: DType) -> Tensor {
        if target == dtype { return self }
        guard let from = dtype.kernelType, let to = target.kernelType else {
            preconditionFailure("\(dtype) does not convert to \(target)")
        }
        precondition(
            target.isWritable && (shape.last ?? 1) % target.blockElements == 0,
            "\(dtype) \(shape) does not convert to \(target)")
        let runtime = Runtime.shared
        let values = dtype == .f32 ? detached() : Tensor(uninitialized: shape)
        if dtype != .f32 {
            runtime.forEachBlockRange(of: self) { offset, elements in
                runtime.kernels.dequantize(from, bytes + offset.bytes, values.floats + offset.elements, elements)
            }
        }
        guard target != .f32 else { return values }
        let result = Tensor(uninitialized: shape, dtype: target)
        runtime.forEachBlockRange(of: result) { offset, elements in
            runtime.kernels.quantize(
                to, values.floats + offset.elements,
                UnsafeMutableRawPointer(mutating: result.bytes + offset.bytes), elements)
        }
        return result
    }
}
