import MoruBase
import Testing

@Suite struct HistogramTests {
    @Test func valuesFallIntoTheBucketsOfTheirBounds() {
        var histogram = Histogram([1, 2, 4])
        for value in [0, 1, 1.5, 2, 3, 4, 4.1, 100] { histogram.record(value) }
        #expect(histogram.counts == [2, 2, 2, 2] && histogram.count == 8)
        #expect(histogram.sum == 115.6)
        histogram.record(3, times: 5)
        histogram.record(3, times: 0)
        histogram.record(.nan)
        histogram.record(.infinity)
        #expect(histogram.counts == [2, 2, 7, 3] && histogram.sum == .infinity)
    }

    @Test(arguments: [Histogram.ofSeconds, .ofTokenSeconds, .ofTokens])
    func theHousesOwnAscend(histogram: Histogram) {
        #expect(histogram.count == 0 && histogram.bounds == histogram.bounds.sorted())
        var filled = histogram
        for bound in histogram.bounds { filled.record(bound) }
        #expect(filled.counts == Array(repeating: 1, count: histogram.bounds.count) + [0])
    }
}
