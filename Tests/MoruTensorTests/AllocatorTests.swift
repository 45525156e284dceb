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
}
