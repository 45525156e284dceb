import CMoruKernels

/// The matrices of a low-rank update, `scale * (x A^T) B^T`, in the layout for products of few rows: copies in panels,
/// next to each other in one piece of memory. Unchecked: only the initializer writes.
public final class LowRankFactors: @unchecked Sendable {
    private let storage: Storage
    /// The update, of no rows yet. Valid while this lives.
    let arguments: moru_low_rank

    /// Copies matrices [rank, inputs] and [outputs, rank], f32 or bf16, in one of these types.
    package init(a: Tensor, b: Tensor, scale: Float, as dtype: DType) {
        precondition(
            a.rank == 2 && b.rank == 2 && a.shape[0] == b.shape[1] && a.dtype.blockElements == 1
                && b.dtype.blockElements == 1, "an update by \(a.shape) and \(b.shape) has no rank")
        precondition(dtype == .f32 || dtype == .bf16, "an update is not computed in \(dtype)")
        let type = dtype.kernelType!
        let (rank, inputs, outputs) = (a.shape[0], a.shape[1], b.shape[0])
        let bytes = moru_low_rank_bytes(type, rank, inputs)
        storage = Storage(byteCount: bytes + moru_low_rank_bytes(type, rank, outputs))
        let (first, second) = (a.converted(to: .f32), b.converted(to: .f32))
        moru_low_rank_pack(type, first.floats, rank, inputs, inputs, 1, storage.base)
        moru_low_rank_pack(type, second.floats, rank, outputs, 1, rank, storage.base + bytes)
        withExtendedLifetime((first, second)) {}
        var arguments = moru_low_rank()
        (arguments.rank, arguments.k, arguments.n, arguments.type) = (rank, inputs, outputs, type)
        (arguments.a, arguments.b) = (UnsafeRawPointer(storage.base), UnsafeRawPointer(storage.base + bytes))
        arguments.scale = scale
        self.arguments = arguments
    }
}

/// The low-rank updates of a model's layers, found by a layer's place in a list.
///
/// A step with many adapters needs hundreds of updates: their arguments lie next to each other here, and only the list
/// as a whole is reference-counted. Unchecked: only the initializer writes.
public final class LowRankUpdates: @unchecked Sendable {
    private let factors: [LowRankFactors?]
    /// What is known of each layer's update, nil where there is none. Valid while this lives.
    let arguments: UnsafeBufferPointer<moru_low_rank?>

    /// The updates of layers, nil for none.
    package init(_ factors: [LowRankFactors?]) {
        self.factors = factors
        let memory = UnsafeMutableBufferPointer<moru_low_rank?>.allocate(capacity: factors.count)
        _ = memory.initialize(from: factors.map { $0?.arguments })
        arguments = UnsafeBufferPointer(memory)
    }

    deinit { arguments.deallocate() }
}

extension moru_low_rank {
    /// Both matrices, which lie side by side.
    var bytes: UnsafeRawBufferPointer {
        let count = moru_low_rank_bytes(type, rank, k) + moru_low_rank_bytes(type, rank, n)
        return UnsafeRawBufferPointer(start: a, count: count)
    }
}
