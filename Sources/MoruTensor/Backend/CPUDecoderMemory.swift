/// Memory for what a few rows are between the steps of a decoder's layers. One piece, which the layers use again and
/// again, so that it stays in the caches.
struct CPUDecoderMemory {
    /// What products need, in memory that all threads share or that is a thread's own.
    struct Desk {
        /// The products.
        let products: UnsafeMutablePointer<FewRowsProducts>
        /// Their input, [rows, dim or queries], and memory for it rounded to 8 bits.
        let floats: UnsafeMutablePointer<Float>
        let rounded: UnsafeMutableRawPointer
        /// The number of the products that it was prepared for last.
        let number: UnsafeMutablePointer<Int>
    }

    /// What the threads compute together, [rows, outputs].
    let q, k, v, gates, gated: UnsafeMutablePointer<Float>
    /// The products of `up` and the activation of the gate, rounded: written while other inputs are still read.
    let roundedGates: UnsafeMutableRawPointer
    private let storage: Storage
    private let desks: UnsafeMutableRawPointer
    private let deskCount, deskBytes, floatBytes: Int
    /// Cache lines that no two threads share, as CPUs fetch them: in pairs.
    private static let line = 128

    init(
        rows: Int, dim: Int, _ sizes: CPUDecoderLayer.Sizes, threadCount: Int, _ kernels: FewRowsKernels
    ) {
        func rounded(_ bytes: Int) -> Int { (bytes + Self.line - 1) / Self.line * Self.line }
        let width = max(dim, sizes.queries)
        floatBytes = rounded(rows * width * MemoryLayout<Float>.size)
        deskCount = threadCount + 1
        deskBytes = Self.headBytes + floatBytes + rounded(rows * FewRowsInput.roundedRowBytes(width))
        let counts = [sizes.queries, sizes.keys, sizes.keys, sizes.inner, sizes.inner]
        let bytes = counts.map { rounded(rows * $0 * MemoryLayout<Float>.size) }
        let gatesBytes = rounded(rows * FewRowsInput.roundedRowBytes(sizes.inner))
        storage = Storage(byteCount: bytes.reduce(gatesBytes, +) + deskCount * deskBytes + Self.line)
        var next = storage.base + (Self.line - Int(bitPattern: storage.base) % Self.line)
        func take(_ bytes: Int) -> UnsafeMutableRawPointer {
            defer { next += bytes }
            return next
        }
        let floats = bytes.map { take($0).assumingMemoryBound(to: Float.self) }
        (q, k, v, gates, gated) = (floats[0], floats[1], floats[2], floats[3], floats[4])
        roundedGates = take(gatesBytes)
        desks = next
        for index in 0..<deskCount {
            desk(index).number.initialize(to: 0)
            desk(index).products.initialize(to: FewRowsProducts(kernels))
        }
    }

    /// Gives back what products have asked for.
    func deallocate() {
        for index in 0..<deskCount { desk(index).products.pointee.deallocate() }
    }

    /// The desk that all threads share.
    var shared: Desk { desk(0) }

    /// The desk that is a thread's own.
    func own(_ thread: Int) -> Desk { desk(thread + 1) }

    private static var headBytes: Int { (16 + MemoryLayout<FewRowsProducts>.size + line - 1) / line * line }

    private func desk(_ index: Int) -> Desk {
        let base = desks + index * deskBytes
        let floats = base + Self.headBytes
        return Desk(
            products: (base + 16).assumingMemoryBound(to: FewRowsProducts.self),
            floats: floats.assumingMemoryBound(to: Float.self), rounded: floats + floatBytes,
            number: base.assumingMemoryBound(to: Int.self))
    }
}
