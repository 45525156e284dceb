/// An immutable array of numbers: a storage, a shape and a dtype.
///
/// Elements are stored contiguously in row-major order. The only views are slices of the leading dimension and reshapes,
/// so every kernel sees one layout and there are no hidden copies. Copying a tensor copies a reference.
///
/// An operation on a tensor that is tracked by a gradient computation records its backward rule in its result; see
/// ``valueAndGradients(at:_:)``.
public struct Tensor: Sendable {
    /// The size of each dimension; empty for a scalar.
    public let shape: [Int]
    /// The format of the elements.
    public let dtype: DType
    /// The bytes, possibly shared with other tensors.
    package private(set) var storage: Storage
    /// Where this tensor starts in its storage.
    package let byteOffset: Int
    /// The operation that produced this tensor, if a gradient is being computed.
    let node: GradientNode?

    package init(storage: Storage, byteOffset: Int = 0, shape: [Int], dtype: DType) {
        self.init(storage: storage, byteOffset: byteOffset, shape: shape, dtype: dtype, node: nil)
    }

    init(storage: Storage, byteOffset: Int, shape: [Int], dtype: DType, node: GradientNode?) {
        precondition(shape.allSatisfy { $0 >= 0 }, "negative dimension in shape \(shape)")
        precondition(
            byteOffset >= 0
                && dtype.byteCount(of: shape.reduce(1, *)).map { $0 <= storage.byteCount - byteOffset } ?? false,
            "\(dtype) \(shape) at byte \(byteOffset) does not fit a storage of \(storage.byteCount) bytes")
        self.shape = shape
        self.dtype = dtype
        self.storage = storage
        self.byteOffset = byteOffset
        self.node = node
    }

    /// A tensor with unspecified content, for an operation to fill.
    package init(uninitialized shape: [Int], dtype: DType = .f32) {
        guard let byteCount = dtype.byteCount(of: shape.reduce(1, *)) else {
            preconditionFailure("shape \(shape) is not a whole number of \(dtype) blocks")
        }
        self.init(storage: Storage(byteCount: byteCount), shape: shape, dtype: dtype)
    }

    /// The number of elements.
    public var count: Int { shape.reduce(1, *) }
    /// The number of dimensions.
    public var rank: Int { shape.count }
    /// The number of bytes.
    public var byteCount: Int { dtype.byteCount(of: count) ?? 0 }
    /// Whether a gradient computation tracks this tensor.
    public var isTracked: Bool { node != nil }

    /// The same values, not tracked by any gradient computation.
    public func detached() -> Tensor {
        Tensor(storage: storage, byteOffset: byteOffset, shape: shape, dtype: dtype)
    }

    func with(node: GradientNode?) -> Tensor {
        Tensor(storage: storage, byteOffset: byteOffset, shape: shape, dtype: dtype, node: node)
    }

    /// Makes the tensor the only owner of its memory, so that it can be written; copies only if the memory is shared.
    package mutating func makeUnique() {
        precondition(node == nil, "a tensor that a gradient computation follows is not written")
        if storage.isMapped || !isKnownUniquelyReferenced(&storage) { self = copied() }
    }

    /// The first byte, for reading; valid while the tensor lives.
    package var bytes: UnsafeRawPointer { UnsafeRawPointer(storage.base + byteOffset) }

    /// The elements of an f32 tensor; valid while the tensor lives.
    package var floats: UnsafeMutablePointer<Float> {
        precondition(dtype == .f32, "an f32 tensor is needed, this one is \(dtype) \(shape)")
        return (storage.base + byteOffset).assumingMemoryBound(to: Float.self)
    }
}

extension Tensor: CustomStringConvertible {
    /// Dtype, shape and the first few elements.
    public var description: String {
        let name = "\(dtype)\(shape)"
        guard dtype == .f32 else { return name }
        let shown = (0..<min(count, 8)).map { "\(floats[$0])" }.joined(separator: ", ")
        return "\(name)[\(shown)\(count > 8 ? ", ..." : "")]"
    }
}
