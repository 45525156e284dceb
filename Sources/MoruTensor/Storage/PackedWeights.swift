import CMoruKernels
import Foundation
import Synchronization

/// A quantised matrix [n, k] in the layout that products want, made once from the format's own.
final class PackedWeights: Sendable {
    let storage: Storage
    private let byteOffset: Int

    /// The first byte; valid while this lives.
    var bytes: UnsafeRawPointer { UnsafeRawPointer(storage.base + byteOffset) }

    /// Packs `weight`, whose format can be packed, on the threads given.
    init(_ weight: Tensor, threads: ThreadPool) {
        let type = weight.dtype.kernelType!
        let (n, k) = (weight.shape[0], weight.shape[1])
        let byteCount = moru_packed_bytes(type, n, k)
        (storage, byteOffset) = PackedMemory.shared.allocate(byteCount)
        let out = storage.base + byteOffset
        let rowBytes = weight.dtype.byteCount(of: k)!
        let panel = Int(MORU_PANEL)
        threads.forRanges((n + panel - 1) / panel, minimum: 4) { panels in
            let end = min(n, panels.upperBound * panel)
            moru_pack(type, weight.bytes, rowBytes, n, k, out, panels.lowerBound * panel, end)
        }
        weight.storage.forgetPages(weight.byteOffset..<weight.byteOffset + weight.byteCount)
    }
}

extension Tensor {
    /// Brings a quantised matrix into the layout that products of few rows want, on this thread alone, unless that has
    /// been done; does nothing to other tensors.
    package func packForFewRows() {
        guard rank == 2, shape[1] > 0, let type = dtype.kernelType, moru_can_pack(type) else { return }
        _ = storage.packedForms.form(of: self, threads: ThreadPool(threadCount: 1))
    }
}

/// Large pieces of memory, which the system can map with large pages, shared by the packed weights of a model: a step
/// reads all of them, and with small pages waits for their addresses.
private final class PackedMemory: Sendable {
    static let shared = PackedMemory()

    private struct Piece {
        weak var storage: Storage?
        var used = 0
    }

    private static let pieceBytes = 32 << 20
    private let current = Mutex(Piece())

    func allocate(_ byteCount: Int) -> (Storage, byteOffset: Int) {
        guard byteCount <= Self.pieceBytes / 4 else { return (Storage(byteCount: byteCount), 0) }
        return current.withLock { piece in
            let start = piece.used
            piece.used += (byteCount + 63) & ~63
            if let storage = piece.storage, piece.used <= storage.byteCount { return (storage, start) }
            let storage = Storage(byteCount: Self.pieceBytes)
            piece = Piece(storage: storage, used: (byteCount + 63) & ~63)
            return (storage, 0)
        }
    }
}

/// The packed forms of the matrices in a storage, each made when it is first asked for.
final class PackedForms: Sendable {
    private struct Forms {
        var all: [MatrixPlace: PackedWeights] = [:]
        /// The first one: most storages have no other.
        var first: (place: MatrixPlace, form: PackedWeights)?
    }

    private let forms = Mutex(Forms())

    /// How many matrices have been packed.
    var count: Int { forms.withLock { $0.all.count } }

    /// The packed form of a matrix in this storage. Whoever comes while it is being made waits.
    func form(of weight: Tensor, threads: ThreadPool) -> PackedWeights {
        let place = MatrixPlace(weight)
        return forms.withLock { forms in
            if let first = forms.first, first.place == place { return first.form }
            if let form = forms.all[place] { return form }
            let form = PackedWeights(weight, threads: threads)
            forms.all[place] = form
            if forms.first == nil { forms.first = (place, form) }
            return form
        }
    }
}
