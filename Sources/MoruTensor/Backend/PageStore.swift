/// What one page of a cache holds: the keys and values of ``SequenceCache/pageTokens`` tokens in every layer.
public struct CacheLayout: Sendable, Hashable {
    /// The number of layers.
    public var layerCount: Int
    /// Heads of keys and values.
    public var kvHeads: Int
    /// Elements of a head.
    public var headDim: Int
    /// How keys and values are stored: `f32`, `bf16` or `q8_0`, which needs heads of a multiple of 32 elements.
    public var dtype: DType

    /// Makes a layout.
    public init(layerCount: Int, kvHeads: Int, headDim: Int, dtype: DType) {
        precondition(
            [.f32, .bf16, .q8_0].contains(dtype) && headDim % dtype.blockElements == 0,
            "a cache cannot hold heads of \(headDim) elements as \(dtype)")
        self.layerCount = layerCount
        self.kvHeads = kvHeads
        self.headDim = headDim
        self.dtype = dtype
    }

    /// Elements of one token's keys in one layer.
    var rowElements: Int { kvHeads * headDim }
    /// Bytes of one token's keys in one layer.
    var rowBytes: Int { dtype.byteCount(of: rowElements) ?? 0 }
    /// Bytes of one layer's keys, or values, in a page.
    var partBytes: Int { SequenceCache.pageTokens * rowBytes }
    /// Bytes of a page.
    public var pageBytes: Int { 2 * layerCount * partBytes }
}

/// Memory for the pages of many sequences' caches, known by number. Who holds which page is decided by others; the same
/// page may be read by many.
///
/// Not safe for concurrent use, and unchecked: whoever steps the sequences owns it.
public final class PageStore: @unchecked Sendable {
    /// What a page holds.
    public let layout: CacheLayout
    /// Pages that lie in one piece of memory, so that small pages too lie in the system's large ones.
    private let slabPages: Int
    private var slabs: [Storage] = []
    private static let slabBytes = 8 << 20

    /// A store without memory: it is asked for when a page is first used.
    public init(_ layout: CacheLayout) {
        self.layout = layout
        slabPages = min(16, max(1, Self.slabBytes / max(1, layout.pageBytes)))
    }

    /// Bytes of memory asked for.
    public var byteCount: Int { slabs.reduce(0) { $0 + $1.byteCount } }

    /// Copies a page's content to another.
    public func copy(_ source: Int, to destination: Int) {
        guard source != destination else { return }
        base(of: destination).copyMemory(from: base(of: source), byteCount: layout.pageBytes)
    }

    /// Reads or writes a page's bytes as they are.
    package func withBytes<Result>(of page: Int, _ body: (UnsafeMutableRawBufferPointer) -> Result) -> Result {
        body(UnsafeMutableRawBufferPointer(start: base(of: page), count: layout.pageBytes))
    }

    /// Where a page lies.
    func base(of page: Int) -> UnsafeMutableRawPointer {
        let (slab, place) = page.quotientAndRemainder(dividingBy: slabPages)
        while slabs.count <= slab { slabs.append(Storage(byteCount: slabPages * layout.pageBytes)) }
        return slabs[slab].base + place * layout.pageBytes
    }
}
