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
    /// Positions stored so far in every layer; ``advance(by:)`` moves it.
    public private(set) var count = 0

    private var keys: [[Storage]]
    private var values: [[Storage]]

    /// An empty cache.
    public init(layerCount: Int, kvHeads: Int, headDim: Int) {
        self.layerCount = layerCount
        rowElements = kvHeads * headDim
        keys = Array(repeating: [], count: layerCount)
        values = keys
    }

    /// Bytes that the pages hold.
    public var byteCount: Int { keys.reduce(0) { $0 + $1.count } * 2 * pageBytes }

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
        let pages = (position + rows.count + Self.pageTokens - 1) / Self.pageTokens
        while keys[layer].count < pages {
            keys[layer].append(Storage(byteCount: pageBytes))
            values[layer].append(Storage(byteCount: pageBytes))
        }
        for (offset, row) in rows.enumerated() {
            let (page, slot) = (position + offset).quotientAndRemainder(dividingBy: Self.pageTokens)
            floats(keys[layer][page], slot).update(from: k.floats + row * rowElements, count: rowElements)
            floats(values[layer][page], slot).update(from: v.floats + row * rowElements, count: rowElements)
        }
    }

    /// The keys and values of some stored positions of a layer, each [n, kvHeads * headDim], copied.
    public func rows(_ positions: Range<Int>, layer: Int) -> (keys: Tensor, values: Tensor) {
        precondition(
            0...count ~= positions.lowerBound && positions.upperBound <= count,
            "positions \(positions) lie outside a cache of \(count) tokens")
        let (k, v) = (
            Tensor(uninitialized: [positions.count, rowElements]),
            Tensor(uninitialized: [positions.count, rowElements])
        )
        for (row, position) in positions.enumerated() {
            let (page, slot) = position.quotientAndRemainder(dividingBy: Self.pageTokens)
            (k.floats + row * rowElements).update(from: floats(keys[layer][page], slot), count: rowElements)
            (v.floats + row * rowElements).update(from: floats(values[layer][page], slot), count: rowElements)
        }
        return (k, v)
    }

    /// Says that `tokens` more positions are now stored in every layer.
    public func advance(by tokens: Int) { count += tokens }

    /// Forgets the positions from `position` on.
    public func truncate(to position: Int) {
        precondition(0...count ~= position, "cannot truncate a cache of \(count) tokens to \(position)")
        count = position
        let pages = (position + Self.pageTokens - 1) / Self.pageTokens
        for layer in 0..<layerCount {
            keys[layer].removeLast(keys[layer].count - min(pages, keys[layer].count))
            values[layer].removeLast(values[layer].count - min(pages, values[layer].count))
        }
    }

    /// Positions that the pages of a layer have room for.
    func capacity(layer: Int) -> Int { keys[layer].count * Self.pageTokens }

    func pages(layer: Int) -> (keys: [UnsafePointer<Float>?], values: [UnsafePointer<Float>?]) {
        (keys[layer].map { UnsafePointer(floats($0, 0)) }, values[layer].map { UnsafePointer(floats($0, 0)) })
    }

    private var pageBytes: Int { Self.pageTokens * rowElements * MemoryLayout<Float>.stride }

    private func floats(_ page: Storage, _ slot: Int) -> UnsafeMutablePointer<Float> {
        page.base.assumingMemoryBound(to: Float.self) + slot * rowElements
    }
}
