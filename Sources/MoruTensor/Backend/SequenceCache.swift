import MoruBase

/// The keys and values of one sequence, for every layer, in pages of a fixed number of tokens.
///
/// The pages are the cache's own and grow with it, or those of a ``PageStore`` that it was told to use, some of which
/// other sequences may read too.
///
/// Not safe for concurrent use, and unchecked: whoever steps the sequence owns it.
public final class SequenceCache: @unchecked Sendable {
    /// Tokens a page.
    public static let pageTokens = 64

    /// What a page holds.
    public let layout: CacheLayout
    /// Elements of one token's keys in one layer: `kvHeads * headDim`.
    public let rowElements: Int
    /// Positions stored so far in every layer; ``advance(by:)`` moves it.
    public private(set) var count = 0

    /// Each page holds the keys and then the values of every layer, [2 * layerCount, pageTokens, rowElements].
    private var pages: [UnsafeMutableRawPointer] = []
    /// The memory of pages that are the cache's own.
    private var owned: [Storage] = []
    private let store: PageStore?
    /// The numbers of the store's pages in use.
    private var numbers: [Int] = []
    private let rowBytes: Int
    private let partBytes: Int
    /// Where each layer's keys and values lie in each page, [2 * layerCount, tableCapacity].
    private var table: UnsafeMutablePointer<UnsafeRawPointer?>
    private var tableCapacity = 8

    private init(_ layout: CacheLayout, _ store: PageStore?) {
        self.layout = layout
        self.store = store
        rowElements = layout.rowElements
        rowBytes = layout.rowBytes
        partBytes = layout.partBytes
        table = .allocate(capacity: max(1, 2 * layout.layerCount * tableCapacity))
    }

    /// An empty cache with pages of its own.
    public convenience init(_ layout: CacheLayout) { self.init(layout, nil) }

    /// An empty cache with pages of its own.
    ///
    /// - Parameter dtype: `f32`, `bf16` or `q8_0`, which needs heads of a multiple of 32 elements.
    public convenience init(layerCount: Int, kvHeads: Int, headDim: Int, dtype: DType = .f32) {
        self.init(CacheLayout(layerCount: layerCount, kvHeads: kvHeads, headDim: headDim, dtype: dtype))
    }

    /// A cache in pages of a store, the first `count` positions of which are stored already.
    public convenience init(in store: PageStore, pages: [Int] = [], count: Int = 0) {
        self.init(store.layout, store)
        use(pages: pages)
        precondition(0...capacity ~= count, "\(count) positions do not fit \(pages.count) pages")
        self.count = count
    }

    deinit { table.deallocate() }

    /// The number of layers.
    public var layerCount: Int { layout.layerCount }
    /// How keys and values are stored.
    public var dtype: DType { layout.dtype }

    /// Bytes that the pages hold.
    public var byteCount: Int { pages.count * layout.pageBytes }

    /// Takes these pages of the store, in their order, in place of those so far. Where a page changes, the new one holds
    /// the same.
    public func use(pages numbers: [Int]) {
        guard let store else { preconditionFailure("a cache with pages of its own takes no others") }
        guard numbers != self.numbers else { return }
        let same = zip(numbers, self.numbers).prefix { $0 == $1 }.count
        self.numbers = numbers
        pages.removeLast(pages.count - same)
        for number in numbers[same...] { pages.append(store.base(of: number)) }
        growTable(from: same)
    }

    /// Writes the keys and values of positions from `position` on.
    ///
    /// - Parameters:
    ///   - k: [n, kvHeads * headDim] or [n, kvHeads, headDim], f32.
    ///   - v: Like `k`.
    ///   - rows: Which rows of `k` and `v` to store.
    ///   - layer: The layer.
    ///   - position: The position of the first of these rows; at most ``count``.
    public func store(_ k: Tensor, _ v: Tensor, rows: Range<Int>, layer: Int, position: Int) {
        precondition(
            k.shape == v.shape && k.rank > 0 && k.count == k.shape[0] * rowElements && rows.lowerBound >= 0
                && rows.upperBound <= k.shape[0],
            "rows \(rows) of \(k.shape) and \(v.shape) do not fit a cache of \(rowElements) elements a token")
        precondition(
            0...count ~= position && !k.isTracked && !v.isTracked, "the cache has no backward rule and no gaps")
        let first = rows.lowerBound * rowElements
        store(k.floats + first, v.floats + first, count: rows.count, layer: layer, position: position)
    }

    /// Writes `count` rows of keys and values.
    func store(_ k: UnsafePointer<Float>, _ v: UnsafePointer<Float>, count: Int, layer: Int, position: Int) {
        reserve(position + count)
        let (quantize, type) = (Runtime.shared.kernels.quantize!, dtype.kernelType!)
        forRuns(position..<position + count) { offset, count, page, slot in
            let (source, place) = (offset * rowElements, slot * rowBytes)
            quantize(type, k + source, part(2 * layer, page) + place, count * rowElements)
            quantize(type, v + source, part(2 * layer + 1, page) + place, count * rowElements)
        }
    }

    /// The keys and values of some stored positions of a layer, each [n, kvHeads * headDim], copied.
    public func rows(_ positions: Range<Int>, layer: Int) -> (keys: Tensor, values: Tensor) {
        precondition(
            0...count ~= positions.lowerBound && positions.upperBound <= count,
            "positions \(positions) lie outside a cache of \(count) tokens")
        let shape = [positions.count, rowElements]
        let (k, v) = (Tensor(uninitialized: shape), Tensor(uninitialized: shape))
        let (dequantize, type) = (Runtime.shared.kernels.dequantize!, dtype.kernelType!)
        forRuns(positions) { offset, count, page, slot in
            let place = slot * rowBytes
            dequantize(type, part(2 * layer, page) + place, k.floats + offset * rowElements, count * rowElements)
            dequantize(type, part(2 * layer + 1, page) + place, v.floats + offset * rowElements, count * rowElements)
        }
        return (k, v)
    }

    /// The keys and values of one stored position of a layer, each [kvHeads * headDim], copied.
    package func row(_ position: Int, layer: Int) -> (keys: Tensor, values: Tensor) {
        let (keys, values) = rows(position..<position + 1, layer: layer)
        return (keys.reshaped(rowElements), values.reshaped(rowElements))
    }

    /// Says that `tokens` more positions are now stored in every layer.
    public func advance(by tokens: Int) { count += tokens }

    /// Forgets the positions from `position` on. Pages of a store stay in use.
    public func truncate(to position: Int) {
        precondition(0...count ~= position, "cannot truncate a cache of \(count) tokens to \(position)")
        count = position
        guard store == nil else { return }
        let unused = max(0, pages.count - Self.pageCount(position))
        pages.removeLast(unused)
        owned.removeLast(unused)
    }

    /// Positions that the pages have room for.
    var capacity: Int { pages.count * Self.pageTokens }

    /// Where a layer's keys lie in each page; valid until the cache grows.
    func keyPages(layer: Int) -> UnsafePointer<UnsafeRawPointer?> {
        UnsafePointer(table + 2 * layer * tableCapacity)
    }

    /// Where a layer's values lie in each page; valid until the cache grows.
    func valuePages(layer: Int) -> UnsafePointer<UnsafeRawPointer?> {
        UnsafePointer(table + (2 * layer + 1) * tableCapacity)
    }

    /// Makes room for `positions`; the memory's content is unspecified.
    func reserve(_ positions: Int) {
        let needed = Self.pageCount(positions)
        guard pages.count < needed else { return }
        precondition(store == nil, "\(positions) positions do not fit the \(pages.count) pages that the cache may use")
        let first = pages.count
        while pages.count < needed {
            let storage = Storage(byteCount: layout.pageBytes)
            owned.append(storage)
            pages.append(storage.base)
        }
        growTable(from: first)
    }

    /// Notes where the pages from `first` on lie.
    private func growTable(from first: Int) {
        guard pages.count > tableCapacity else { return fillTable(first..<pages.count) }
        while tableCapacity < pages.count { tableCapacity *= 2 }
        table.deallocate()
        table = .allocate(capacity: max(1, 2 * layerCount * tableCapacity))
        fillTable(0..<pages.count)
    }

    private func fillTable(_ numbers: Range<Int>) {
        for number in numbers {
            for part in 0..<2 * layerCount {
                table[part * tableCapacity + number] = UnsafeRawPointer(self.part(part, number))
            }
        }
    }

    /// Pages that some positions take.
    public static func pageCount(_ positions: Int) -> Int { (positions + pageTokens - 1) / pageTokens }

    private func part(_ part: Int, _ page: Int) -> UnsafeMutableRawPointer { pages[page] + part * partBytes }

    /// Cuts positions at the ends of pages.
    private func forRuns(
        _ positions: Range<Int>, _ body: (_ offset: Int, _ count: Int, _ page: Int, _ slot: Int) -> Void
    ) {
        var next = positions.lowerBound
        while next < positions.upperBound {
            let (page, slot) = next.quotientAndRemainder(dividingBy: Self.pageTokens)
            let count = min(positions.upperBound - next, Self.pageTokens - slot)
            body(next - positions.lowerBound, count, page, slot)
            next += count
        }
    }
}
