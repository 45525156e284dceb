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
        #expect(cache.count == 957 && cache.capacity(layer: 1) == 960)
        let values = dtype.byteCount(of: 960 * 96 * 4)
        #expect(cache.byteCount == values)
        for layer in 0..<2 {
            let found = cache.rows(3..<900, layer: layer)
            expectClose(found.keys, (layer == 0 ? k : v).rows(3..<900), absolute: error, relative: 0)
            expectClose(found.values, (layer == 0 ? v : k).rows(3..<900), absolute: error, relative: 0)
        }
        cache.truncate(to: 64)
        #expect(cache.count == 64 && cache.capacity(layer: 1) == 64)
        expectClose(cache.row(63, layer: 1).keys, v.rows(63..<64).reshaped(96), absolute: error, relative: 0)
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
    }
}
