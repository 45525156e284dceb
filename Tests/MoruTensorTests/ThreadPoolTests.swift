import Synchronization
import Testing

@testable import MoruTensor

@Suite struct ThreadPoolTests {
    @Test(arguments: [1, 2, 5]) func runsEveryIndexOnce(threads: Int) {
        let pool = ThreadPool(threadCount: threads)
        for count in [0, 1, 2, 3, 64, 1000] {
            let counts = (0..<count).map { _ in Counter() }
            pool.run(count) { counts[$0].increment() }
            #expect(counts.allSatisfy { $0.value == 1 })
        }
    }

    @Test func manyShortLoops() {
        let pool = ThreadPool(threadCount: 4)
        let total = Counter()
        for _ in 0..<5000 { pool.run(4) { _ in total.increment() } }
        #expect(total.value == 20_000)
    }

    @Test func nestedAndConcurrentLoopsFinish() async {
        let pool = ThreadPool(threadCount: 3)
        let total = Counter()
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<8 {
                group.addTask { pool.run(10) { _ in pool.run(10) { _ in total.increment() } } }
            }
        }
        #expect(total.value == 800)
    }

    @Test(arguments: [1, 2, 5, 1000]) func scratchIsNobodyElses(count: Int) {
        let pool = ThreadPool(threadCount: 4)
        let words = 100
        let disturbed = Counter()
        for _ in 0..<20 {
            pool.run(count, scratchBytes: words * MemoryLayout<Int>.stride) { index, scratch in
                let own = scratch.bindMemory(to: Int.self, capacity: words)
                for word in 0..<words { own[word] = index }
                for word in 0..<words where own[word] != index { disturbed.increment() }
            }
        }
        #expect(disturbed.value == 0)
    }

    @Test func rangesCoverEverything() {
        let pool = ThreadPool(threadCount: 3)
        let seen = (0..<100).map { _ in Counter() }
        pool.forRanges(100, minimum: 7) { range in
            for index in range { seen[index].increment() }
        }
        #expect(seen.allSatisfy { $0.value == 1 })
    }
}

private final class Counter: Sendable {
    private let count = Atomic<Int>(0)
    var value: Int { count.load(ordering: .sequentiallyConsistent) }
    func increment() { count.add(1, ordering: .sequentiallyConsistent) }
}
