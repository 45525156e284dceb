import Foundation
import Synchronization
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

    private static let large = 8 << 20

    @Test func whatALargeBlockLeavesServesOtherSizes() {
        let allocator = Allocator()
        let blocks = (0..<4).map { _ in allocator.allocate(Self.large) }
        let touched = allocator.statistics.cachedBytes + allocator.statistics.liveBytes
        allocator.release(blocks[1], byteCount: Self.large)
        // Smaller ones lie side by side in the hole
        let (a, b) = (allocator.allocate(3 << 20), allocator.allocate(5 << 20))
        #expect(a == blocks[1] && b == a + (3 << 20))
        // Holes that meet are one, in whichever order they come
        allocator.release(blocks[2], byteCount: Self.large)
        allocator.release(a, byteCount: 3 << 20)
        allocator.release(b, byteCount: 5 << 20)
        let double = allocator.allocate(2 * Self.large)
        #expect(double == blocks[1])
        let statistics = allocator.statistics
        #expect(statistics.liveBytes + statistics.cachedBytes == touched)
        for (block, size) in [(double, 2 * Self.large), (blocks[0], Self.large), (blocks[3], Self.large)] {
            allocator.release(block, byteCount: size)
        }
        #expect(allocator.statistics.liveBytes == 0 && allocator.statistics.cachedBytes == touched)
    }

    @Test func blocksOfMediumSizeSpareLargeHoles() {
        let allocator = Allocator()
        let medium = Allocator.largeBytes
        let blocks = [Self.large, medium, 2 * medium, medium].map { ($0, allocator.allocate($0)) }
        allocator.release(blocks[0].1, byteCount: Self.large)
        allocator.release(blocks[2].1, byteCount: 2 * medium)
        // The first hole would do too
        #expect(allocator.allocate(medium) == blocks[2].1)
        #expect(allocator.allocate(Self.large) == blocks[0].1)
    }

    @Test func memoryThatIsGivenBackComesAgain() {
        let allocator = Allocator()
        let (first, second) = (allocator.allocate(Self.large), allocator.allocate(Self.large))
        for block in [first, second] { block.initializeMemory(as: UInt8.self, repeating: 7, count: Self.large) }
        allocator.release(first, byteCount: Self.large)
        allocator.trim()
        #expect(allocator.statistics.cachedBytes == 0)
        // Its neighbour keeps what it holds
        #expect(UnsafeRawBufferPointer(start: second, count: Self.large).allSatisfy { $0 == 7 })
        let again = allocator.allocate(Self.large)
        #expect(again == first)
        again.initializeMemory(as: UInt8.self, repeating: 9, count: Self.large)
        #expect(allocator.statistics.cachedBytes == 0)
        allocator.release(again, byteCount: Self.large)
        allocator.release(second, byteCount: Self.large)
    }

    @Test func aBlockLargerThanARegionHasOneOfItsOwn() throws {
        // Addresses only: none of it is touched
        let size = 65 << 30
        var region = try #require(MemoryRegion(holding: size))
        defer { region.unmap() }
        #expect(region.holes[0].count >= size && region.touchedBytes == 0)
        #expect(region.allocate(region.holes[0].count + MemoryRegion.unit) == nil)
    }

    /// Many threads ask for blocks of random sizes, fill them, and find what they wrote.
    @Test func blocksNeverOverlap() {
        let allocator = Allocator()
        let intact = Atomic(true)
        ThreadPool(threadCount: 4).run(4) { thread in
            var generator = RandomGenerator(seed: UInt64(thread))
            var held: [(pointer: UnsafeMutableRawPointer, count: Int, mark: UInt8)] = []
            func give(_ index: Int) {
                let (pointer, count, mark) = held.remove(at: index)
                let bytes = UnsafeRawBufferPointer(start: pointer, count: count)
                // Its ends, and some places between
                let places = [0, count - 1] + Array(stride(from: 0, to: count, by: 4099))
                if places.contains(where: { bytes[$0] != mark }) { intact.store(false, ordering: .relaxed) }
                allocator.release(pointer, byteCount: count)
            }
            for step in 0..<400 {
                let count = 1 + Int(generator.uniform() * Float(step % 8 == 0 ? 3 << 20 : 400_000))
                let pointer = allocator.allocate(count)
                let mark = UInt8(truncatingIfNeeded: step * 4 + thread)
                pointer.initializeMemory(as: UInt8.self, repeating: mark, count: count)
                held.append((pointer, count, mark))
                if held.count > 12 { give(Int(generator.uniform() * 12)) }
                if step % 100 == 99 { allocator.trim() }
            }
            while !held.isEmpty { give(held.count - 1) }
        }
        let isIntact = intact.load(ordering: .relaxed)
        #expect(isIntact)
        #expect(allocator.statistics.liveBytes == 0)
        allocator.trim()
        #expect(allocator.statistics.cachedBytes == 0)
    }
}
