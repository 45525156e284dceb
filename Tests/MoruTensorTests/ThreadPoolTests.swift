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

    @Test("steps run every part once, each after all of the one before", arguments: [1, 2, 5])
    func stepsFollowEachOther(threads: Int) {
        let pool = ThreadPool(threadCount: threads)
        let parts = (0..<300).map { step in
            step % 4 == 0 ? 0 : step % 3 == 0 ? 1 : 1 + step * 7 % pool.maximumParts
        }
        for count in [0, 1, 2, 300] {
            let done = (0..<count).map { _ in Counter() }
            let wrong = Counter()
            let busy = (0..<threads).map { _ in Counter() }
            pool.runSteps(count, begin: { parts[$0] }) { step, part, thread in
                if busy[thread].increment() % 2 == 0 { wrong.increment() }
                if step > 0, done[step - 1].value != parts[step - 1] { wrong.increment() }
                if !(0..<parts[step]).contains(part) { wrong.increment() }
                done[step].increment()
                busy[thread].increment()
            }
            #expect(wrong.value == 0)
            #expect(zip(done, parts).allSatisfy { $0.value == $1 })
        }
    }

    @Test func stepsInsideOthersAndBesideOthersFinish() async {
        let pool = ThreadPool(threadCount: 3)
        let total = Counter()
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<8 {
                group.addTask {
                    pool.runSteps(10, begin: { _ in 4 }) { _, _, _ in
                        pool.runSteps(3, begin: { $0 + 1 }) { _, _, _ in
                            total.increment()
                        }
                    }
                }
            }
        }
        #expect(total.value == 8 * 10 * 4 * 6)
    }

    @Test("a step's parts may depend on what the step before has found")
    func partsAreAskedForWhenTheyAreKnown() {
        let pool = ThreadPool(threadCount: 4)
        let (found, total) = (Counter(), Counter())
        pool.runSteps(200, begin: { _ in 1 + found.value % pool.maximumParts }) { _, part, _ in
            if part == 0 { found.increment() }
            total.increment()
        }
        #expect(total.value == (0..<200).reduce(0) { $0 + 1 + $1 % 16 })
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
    @discardableResult func increment() -> Int { count.add(1, ordering: .sequentiallyConsistent).newValue }
}
