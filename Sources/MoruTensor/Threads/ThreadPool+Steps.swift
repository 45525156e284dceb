import CMoruKernels
import Foundation
import Synchronization

extension ThreadPool {
    /// The most parts of a step.
    var maximumParts: Int { 4 * threadCount }

    /// Does steps one after the other: the threads share the parts of each, and the next begins when all are done.
    ///
    /// Much work in short steps goes faster than in loops, since the threads meet between two steps in a fraction of a
    /// microsecond. Nobody waits for a thread that has begun no part: the others take its parts too, and it joins in
    /// when it comes. A step of one part is done by whoever ended the one before, while the others wait for what follows.
    ///
    /// - Parameters:
    ///   - begin: Prepares a step and says its parts, up to ``maximumParts``, of which there may be none. Called once, when
    ///     all steps before are done.
    ///   - whileWaiting: Called by a thread again and again, with a number that counts up, while it waits for a step to end.
    ///   - body: Computes a part. `thread` is below ``threadCount``, and that of no other part being computed.
    func runSteps(
        _ count: Int, begin: (_ step: Int) -> Int,
        whileWaiting: (_ step: Int, _ thread: Int, _ turn: Int) -> Void = { _, _, _ in },
        _ body: (_ step: Int, _ part: Int, _ thread: Int) -> Void
    ) {
        var (first, parts) = (0, 0)
        while first < count, parts == 0 {
            parts = begin(first)
            if parts == 0 { first += 1 }
        }
        guard first < count else { return }
        let sequence = StepSequence(
            first: first, parts: parts, count: count, threadCount: threadCount, maximumParts: maximumParts)
        run(threadCount) { sequence.work(as: $0, begin, whileWaiting, body) }
    }
}

/// Where threads stand in steps that they do together. Unchecked: what changes after the initializer is atomic.
private final class StepSequence: @unchecked Sendable {
    /// A step, its parts, and those of them that are not done.
    private struct Progress {
        var step, parts, left: Int

        init(step: Int, parts: Int) { (self.step, self.parts, left) = (step, parts, parts) }

        init(_ word: UInt64) {
            (step, parts, left) = (Int(word >> 32), Int(word >> 16 & 0xFFFF), Int(word & 0xFFFF))
        }

        var word: UInt64 { UInt64(step) << 32 | UInt64(parts) << 16 | UInt64(left) }
    }

    /// The last step for which a part has been taken, in a cache line of its own.
    private struct Claim: ~Copyable {
        let step = Atomic<Int>(-1)
        private let rest: (UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0, 0, 0, 0)
    }

    private static let spins = 4000

    private let count, threadCount: Int
    private let progress: Atomic<UInt64>
    private let claims: UnsafeMutableBufferPointer<Claim>

    init(first: Int, parts: Int, count: Int, threadCount: Int, maximumParts: Int) {
        (self.count, self.threadCount) = (count, threadCount)
        progress = Atomic(Progress(step: first, parts: parts).word)
        claims = .allocate(capacity: maximumParts)
        for part in 0..<maximumParts { claims.initializeElement(at: part, to: Claim()) }
    }

    deinit {
        claims.deinitialize()
        claims.deallocate()
    }

    /// Takes part until the last step is done.
    func work(
        as thread: Int, _ begin: (Int) -> Int, _ whileWaiting: (Int, Int, Int) -> Void, _ body: (Int, Int, Int) -> Void
    ) {
        var now = Progress(progress.load(ordering: .acquiring))
        while now.step < count {
            let own = now.parts * thread / threadCount..<now.parts * (thread + 1) / threadCount
            for part in own where take(part, of: now) { perform(now.step, part, thread, begin, body) }
            // The others' last parts first, which they come to last
            for part in (own.upperBound..<now.parts).reversed() where take(part, of: now) {
                perform(now.step, part, thread, begin, body)
            }
            for part in (0..<own.lowerBound).reversed() where take(part, of: now) {
                perform(now.step, part, thread, begin, body)
            }
            let step = now.step
            now = awaitStep(after: step) { whileWaiting(step, thread, $0) }
        }
    }

    /// Whether nobody had taken a part, which is the caller's now.
    private func take(_ part: Int, of now: Progress) -> Bool {
        let claim = claims.baseAddress! + part
        let last = claim.pointee.step.load(ordering: .relaxed)
        guard last < now.step else { return false }
        return claim.pointee.step.compareExchange(expected: last, desired: now.step, ordering: .acquiringAndReleasing)
            .exchanged
    }

    /// Computes a part; after the last one of a step also the steps of at most one part that follow.
    private func perform(
        _ step: Int, _ part: Int, _ thread: Int, _ begin: (Int) -> Int, _ body: (Int, Int, Int) -> Void
    ) {
        body(step, part, thread)
        guard Progress(progress.subtract(1, ordering: .acquiringAndReleasing).newValue).left == 0 else { return }
        var next = Progress(step: step + 1, parts: 0)
        while next.step < count {
            next = Progress(step: next.step, parts: begin(next.step))
            if next.parts > 1 { break }
            if next.parts == 1 { body(next.step, 0, thread) }
            next.step += 1
        }
        progress.store(next.word, ordering: .releasing)
    }

    /// Waits for the end of a step: spinning at first, then leaving the CPU to a thread that may be waiting for it.
    private func awaitStep(after step: Int, _ body: (_ turn: Int) -> Void) -> Progress {
        var turns = 0
        while true {
            let now = Progress(progress.load(ordering: .acquiring))
            if now.step > step { return now }
            switch turns {
            case ..<Self.spins:
                body(turns)
                moru_cpu_relax()
            case ..<(2 * Self.spins): sched_yield()
            default: usleep(100)
            }
            turns += 1
        }
    }
}
