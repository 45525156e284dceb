import MoruTestKit
import Testing

@testable import MoruTensor

/// Keys and values of a sequence, in every format.
@Suite struct SequenceCacheTests {
    private static let formats: [(dtype: DType, error: Float)] = [(.f32, 0), (.bf16, 0.002), (.q8_0, 0.005)]

    @Test("what is stored is found again, across pages and in pieces", arguments: [0, 1, 2])
    func storesAndFinds(format: Int) {
        let (dtype, error) = Self.formats[format]
        let cache = SequenceCache(layerCount: 2, kvHeads: 3, headDim: 32, dtype: dtype)
        let (k, v) = (Deterministic.tensor("k", [1000, 96]), Deterministic.tensor("v", [1000, 96]))
        var next = 0
        for count in [1, 70, 57, 128, 1, 700] {
            for layer in 0..<2 {
                cache.store(
                    layer == 0 ? k : v, layer == 0 ? v : k, rows: next..<next + count, layer: layer, position: next)
            }
            next += count
            cache.advance(by: count)
        }
        #expect(cache.count == 957 && cache.capacity == 960)
        let values = dtype.byteCount(of: 960 * 96 * 4)
        #expect(cache.byteCount == values)
        for layer in 0..<2 {
            let found = cache.rows(3..<900, layer: layer)
            expectClose(found.keys, (layer == 0 ? k : v).rows(3..<900), absolute: error, relative: 0)
            expectClose(found.values, (layer == 0 ? v : k).rows(3..<900), absolute: error, relative: 0)
        }
        cache.truncate(to: 64)
        #expect(cache.count == 64 && cache.capacity == 64)
        expectClose(cache.row(63, layer: 1).keys, v.rows(63..<64).reshaped(96), absolute: error, relative: 0)
    }

    @Test("sequences read the pages of a store together, and write to their own", arguments: [0, 1, 2])
    func sharesPages(format: Int) {
        let (dtype, error) = Self.formats[format]
        let store = PageStore(CacheLayout(layerCount: 2, kvHeads: 3, headDim: 32, dtype: dtype))
        let (k, v) = (Deterministic.tensor("k", [300, 96]), Deterministic.tensor("v", [300, 96]))
        func fill(_ cache: SequenceCache, _ rows: Range<Int>) {
            for layer in 0..<2 { cache.store(k, v, rows: rows, layer: layer, position: cache.count) }
            cache.advance(by: rows.count)
        }
        let first = SequenceCache(in: store, pages: [40, 3])
        fill(first, 0..<100)
        first.use(pages: [40, 3, 7])
        fill(first, 100..<150)
        // The second reads a page, and begins its next one with a copy
        store.copy(3, to: 11)
        let second = SequenceCache(in: store, pages: [40, 11], count: 80)
        fill(second, 200..<240)
        #expect(first.count == 150 && second.count == 120 && second.byteCount == 2 * store.layout.pageBytes)
        for layer in 0..<2 {
            expectClose(first.rows(0..<150, layer: layer).keys, k.rows(0..<150), absolute: error, relative: 0)
            let found = second.rows(0..<120, layer: layer).values
            expectClose(found, .concatenated([v.rows(0..<80), v.rows(200..<240)]), absolute: error, relative: 0)
        }
        #expect(store.byteCount >= 41 * store.layout.pageBytes)
        second.truncate(to: 10)
        #expect(second.count == 10 && second.capacity == 128)
    }

    @Test("attention over a cache is that over the values it holds", arguments: [0, 1, 2], [1, 20])
    func attention(format: Int, rows: Int) {
        let cache = SequenceCache(layerCount: 1, kvHeads: 2, headDim: 32, dtype: Self.formats[format].dtype)
        let (k, v) = (Deterministic.tensor("k", [150, 64], scale: 4), Deterministic.tensor("v", [150, 64]))
        cache.store(k, v, rows: 0..<150, layer: 0, position: 0)
        cache.advance(by: 150)
        let held = cache.rows(0..<150, layer: 0)
        let q = Deterministic.tensor("q", [150, 4, 32], scale: 4)
        let options = AttentionOptions(scale: 0.2)
        let whole = scaledDotProductAttention(
            q: q, k: held.keys.reshaped(150, 2, 32), v: held.values.reshaped(150, 2, 32), segments: [0..<150], options)
        let last = 150 - rows..<150
        let run = CachedAttentionRun(rows: 0..<rows, firstPosition: last.lowerBound, cache: cache, layer: 0)
        let found = cachedAttention(q: q.rows(last), runs: [run], options)
        expectClose(found, whole.rows(last), absolute: 2e-3, relative: 1e-3)
        // Every precision but f32 rounds queries as the usual one does
        for precision in [Precision.bf16, .int8] {
            let same = Runtime.withPrecision(precision) { cachedAttention(q: q.rows(last), runs: [run], options) }
            expectEqual(same, found, "\(precision)")
        }
    }
}
