import Testing

@testable import MoruTensor

@Suite struct AllocatorTests {
    @Test func sizeClassesHoldTheRequestAndWasteLittle() {
        for bytes in [1, 63, 64, 65, 511, 512, 513, 1000, 4097, 123_456, 9_999_999] {
            let size = Allocator.sizeClass(bytes)
            #expect(size >= bytes && size % 64 == 0)
            #expect(bytes <= 512 || Double(size) <= Double(bytes) * 1.126, "\(bytes) became \(size)")
            #expect(Allocator.sizeClass(size) == size)
        }
    }

    @Test func memoryIsReused() {
        let allocator = Allocator()
        let first = allocator.allocate(100_000)
        #expect(allocator.statistics.liveBytes >= 100_000)
        allocator.release(first, byteCount: 100_000)
        let second = allocator.allocate(100_001)
        #expect(first == second)
        allocator.release(second, byteCount: 100_001)
        #expect(allocator.statistics.liveBytes == 0 && allocator.statistics.cachedBytes > 0)
        allocator.trim()
        #expect(allocator.statistics.cachedBytes == 0)
    }

    @Test func whatARecentPeakNeededIsKeptAndNoMore() {
        let allocator = Allocator()
        let sizes = (1...6).map { $0 << 26 }
        // A step's worth of blocks: 64 MB, 128 MB, ... 384 MB, all freed at its end
        let blocks = sizes.map { ($0, allocator.allocate($0)) }
        for (size, block) in blocks { allocator.release(block, byteCount: size) }
        let kept = allocator.statistics.cachedBytes
        #expect(kept == sizes.reduce(0, +))
        // Other sizes take their place
        let other = allocator.allocate(700 << 20)
        let statistics = allocator.statistics
        #expect(statistics.liveBytes + statistics.cachedBytes <= kept + kept / 8)
        allocator.release(other, byteCount: 700 << 20)
        // Once the work has been small for long, the memory goes back
        for _ in 0..<(1 << 17) { allocator.release(allocator.allocate(64), byteCount: 64) }
        #expect(allocator.statistics.cachedBytes <= 256 << 20)
    }
}
