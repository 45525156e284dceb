import MoruBase

/// The keys and values of one sequence, for every layer, in pages of a fixed number of tokens.
///
/// Not safe for concurrent use: whoever steps the sequence owns it.
public final class SequenceCache: @unchecked Sendable {
    /// Tokens a page.
    public static let pageTokens = 64

    /// The number of layers.
    public let layerCount: Int
    /// Elements of one token's keys in one layer: `kvHeads * headDim`.
    public let rowElements: Int
    /// How keys and values are stored.
    public let dtype: DType
    /// Positions stored so far in every layer; ``advance(by:)`` moves it.
    public private(set) var count = 0

    /// Each page holds the keys and then the values of every layer, [2 * layerCount, pageTokens, rowElements].
    private var pages: [Storage] = []
    private let rowBytes: Int
    /// Where each layer's keys and values lie in each page, [2 * layerCount, tableCapacity].
    private var table: UnsafeMutablePointer<UnsafeRawPointer?>
    private var tableCapacity = 8

    /// An empty cache.
    ///
    /// - Parameter dtype: `f32`, `bf16` or `q8_0`, which needs heads of a multiple of 32 elements.
    public init(layerCount: Int, kvHeads: Int, headDim: Int, dtype: DType = .f32) {
        precondition(
            [.f32, .bf16, .q8_0].contains(dtype) && headDim % dtype.blockElements == 0,
            "a cache cannot hold heads of \(headDim) elements as \(dtype)")
        self.layerCount = layerCount
        self.dtype = dtype
        rowElements = kvHeads * headDim
        rowBytes = dtype.byteCount(of: rowElements) ?? 0
        table = .allocate(capacity: max(1, 2 * layerCount * tableCapacity))
    }

    deinit { table.deallocate() }

    /// Bytes that the pages hold.
    public var byteCount: Int { pages.count * 2 * layerCount * partBytes }

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

    /// Forgets the positions from `position` on.
    public func truncate(to position: Int) {
        precondition(0...count ~= position, "cannot truncate a cache of \(count) tokens to \(position)")
        count = position
        pages.removeLast(max(0, pages.count - Self.pageCount(position)))
    }

    /// Positions that a layer's pages have room for.
    func capacity(layer: Int) -> Int { pages.count * Self.pageTokens }

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
        let first = pages.count
        while pages.count < needed { pages.append(Storage(byteCount: 2 * layerCount * partBytes)) }
        guard needed <= tableCapacity else {
            while tableCapacity < needed { tableCapacity *= 2 }
            table.deallocate()
            table = .allocate(capacity: max(1, 2 * layerCount * tableCapacity))
            fillTable(0..<needed)
            return
        }
        fillTable(first..<needed)
    }

    private func fillTable(_ numbers: Range<Int>) {
        for number in numbers {
            for part in 0..<2 * layerCount {
                table[part * tableCapacity + number] = UnsafeRawPointer(self.part(part, number))
            }
        }
    }

    private static func pageCount(_ positions: Int) -> Int { (positions + pageTokens - 1) / pageTokens }

    /// Bytes of one layer's keys, or values, in a page.
    private var partBytes: Int { Self.pageTokens * rowBytes }

    private func part(_ part: Int, _ page: Int) -> UnsafeMutableRawPointer { pages[page].base + part * partBytes }

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
