import CMoruKernels

/// The CPU: kernels chosen at start, work split over the thread pool.
///
/// No result depends on the number of threads: sums are split at fixed places, and pieces begin on whole vectors.
struct CPUBackend: Backend {
    /// Elements below which a loop is not worth splitting.
    static let grain = 1 << 14

    var runtime: Runtime { Runtime.shared }
    var kernels: moru_kernels { runtime.kernels }
    var threads: ThreadPool { ownThreads ?? runtime.threads }
    private let ownThreads: ThreadPool?

    /// The backend of the runtime's threads, or of others.
    init(threads: ThreadPool? = nil) { ownThreads = threads }

    /// Splits elementwise work.
    func forElements(_ count: Int, _ body: (_ begin: Int, _ end: Int) -> Void) {
        threads.forAlignedRanges(count, minimum: Self.grain) { body($0.lowerBound, $0.upperBound) }
    }

    /// Splits sums over `rows` rows of `dim` columns by columns, so that each is added up in the order of the rows.
    func forColumns(_ dim: Int, rows: Int, _ body: (_ begin: Int, _ end: Int) -> Void) {
        threads.forAlignedRanges(dim, minimum: max(1, Self.grain / max(1, rows))) { body($0.lowerBound, $0.upperBound) }
    }

    /// Splits work by rows of `dim` elements.
    func forRows(_ rows: Int, dim: Int, _ body: (_ begin: Int, _ end: Int) -> Void) {
        threads.forRanges(rows, minimum: max(1, Self.grain / max(1, dim)), partsPerThread: 4) {
            body($0.lowerBound, $0.upperBound)
        }
    }
}

/// Scratch memory from the allocator for the length of a call.
func withScratch<Result>(_ byteCount: Int, _ body: (UnsafeMutableRawPointer) -> Result) -> Result {
    let scratch = Allocator.shared.allocate(byteCount)
    defer { Allocator.shared.release(scratch, byteCount: byteCount) }
    return body(scratch)
}
