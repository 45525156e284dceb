import CMoruKernels
import Foundation
import Synchronization

/// Persistent threads that share one loop at a time.
///
/// The caller works too. Indices are claimed one by one from an atomic that also carries the loop's generation, so a
/// thread that wakes late finds nothing to do and holds nobody up. Threads that wait, for work or for the others to
/// finish, spin for some microseconds, which covers the gaps between the operations of a model step, then sleep.
public final class ThreadPool: Sendable {
    /// The number of threads that share a loop, the caller included.
    public let threadCount: Int
    private let shared: Shared

    /// Starts `threadCount - 1` threads.
    public init(threadCount: Int) {
        self.threadCount = max(1, threadCount)
        shared = Shared()
        for number in 1..<self.threadCount {
            let shared = self.shared
            let thread = Thread { shared.work(as: number) }
            thread.name = "moru-worker"
            thread.stackSize = 1 << 20
            thread.start()
        }
    }

    deinit { shared.stop() }

    /// Calls `body(0) ... body(count - 1)`, each once, in any order, on any of the threads; returns when all are done.
    ///
    /// When another loop is running (another thread's, or the one this call is inside of), the caller does the whole
    /// work alone.
    public func run(_ count: Int, _ body: (Int) -> Void) {
        guard begin(count) else {
            for index in 0..<count { body(index) }
            return
        }
        let numbered = { (index: Int, _: Int) in body(index) }
        withoutActuallyEscaping(numbered) { shared.run(count, $0) }
        shared.end()
    }

    /// As ``run(_:_:)``, with memory for each thread that takes part.
    ///
    /// All of it is asked for at once, so that how much is in use does not depend on which threads came in time.
    func run(_ count: Int, scratchBytes: Int, _ body: (_ index: Int, _ scratch: UnsafeMutableRawPointer) -> Void) {
        guard begin(count) else {
            if count > 0 { withScratch(scratchBytes) { scratch in for index in 0..<count { body(index, scratch) } } }
            return
        }
        let stride = (scratchBytes + Allocator.alignment - 1) / Allocator.alignment * Allocator.alignment
        // Fewer indices than threads: each index has a place, whoever takes it
        let isByIndex = count < threadCount
        withScratch(stride * min(count, threadCount)) { scratch in
            let numbered = { (index: Int, thread: Int) in
                body(index, scratch + (isByIndex ? index : thread) * stride)
            }
            withoutActuallyEscaping(numbered) { shared.run(count, $0) }
        }
        shared.end()
    }

    /// Whether the threads now share a loop of the caller's, which ends it.
    private func begin(_ count: Int) -> Bool {
        count > 1 && threadCount > 1 && count <= Shared.maximumCount && shared.begin()
    }

    /// Splits `0 ..< count` into ranges of at least `minimum` indices and runs them.
    ///
    /// - Parameter partsPerThread: Where a part costs nothing, several leave the rest of a thread's work to the others
    ///   when it is held up.
    public func forRanges(
        _ count: Int, minimum: Int = 1, partsPerThread: Int = 1, _ body: (Range<Int>) -> Void
    ) {
        let parts = parts(of: count, minimum: minimum, perThread: partsPerThread)
        run(parts) { part in body(count * part / parts..<count * (part + 1) / parts) }
    }

    /// As ``forRanges(_:minimum:partsPerThread:_:)``, with memory for each thread that takes part.
    func forRanges(
        _ count: Int, minimum: Int = 1, partsPerThread: Int = 1, scratchBytes: Int,
        _ body: (Range<Int>, _ scratch: UnsafeMutableRawPointer) -> Void
    ) {
        let parts = parts(of: count, minimum: minimum, perThread: partsPerThread)
        run(parts, scratchBytes: scratchBytes) { part, scratch in
            body(count * part / parts..<count * (part + 1) / parts, scratch)
        }
    }

    private func parts(of count: Int, minimum: Int, perThread: Int) -> Int {
        let most = threadCount > 1 ? threadCount * perThread : 1
        return min(max(1, min(most, count / max(1, minimum))), count)
    }

    /// As ``forRanges(_:minimum:partsPerThread:_:)``, with ranges that begin on multiples of 64, which every kernel's vectors divide.
    func forAlignedRanges(_ count: Int, minimum: Int, _ body: (Range<Int>) -> Void) {
        forRanges((count + 63) / 64, minimum: (minimum + 63) / 64, partsPerThread: 4) { units in
            body(units.lowerBound * 64..<min(count, units.upperBound * 64))
        }
    }
}

/// What a loop does for each index.
private final class Loop {
    let body: (_ index: Int, _ thread: Int) -> Void

    init(_ body: @escaping (_ index: Int, _ thread: Int) -> Void) { self.body = body }
}

/// What the threads of a pool share. `ticket` packs generation (24 bits), count (20) and next index (20).
///
/// Unchecked: all is atomic or a lock, but for the loop and its generation, which whoever made `busy` true owns.
private final class Shared: @unchecked Sendable {
    static let maximumCount = 1 << 20 - 1
    private static let spins = 4000

    private let busy = Atomic<Bool>(false)
    private let ticket = Atomic<UInt64>(0)
    private let completed = Atomic<Int>(0)
    private let sleeping = Atomic<Int>(0)
    private let stopping = Atomic<Bool>(false)
    private let wake = NSCondition()
    private let callerSleeps = Atomic<Bool>(false)
    private let finished = NSCondition()
    // Written by the caller before it publishes a ticket, read only by a thread that claimed an index of that ticket.
    // Counting references to what all threads call would have them wait for each other.
    nonisolated(unsafe) private var loop: Unmanaged<Loop>?
    private var generation: UInt64 = 0

    func begin() -> Bool { busy.compareExchange(expected: false, desired: true, ordering: .acquiring).exchanged }
    func end() { busy.store(false, ordering: .releasing) }

    func run(_ count: Int, _ body: @escaping (_ index: Int, _ thread: Int) -> Void) {
        let loop = Loop(body)
        self.loop = Unmanaged.passUnretained(loop)
        generation = (generation + 1) & 0xFF_FFFF
        completed.store(0, ordering: .relaxed)
        ticket.store(generation << 40 | UInt64(count) << 20, ordering: .sequentiallyConsistent)
        if sleeping.load(ordering: .sequentiallyConsistent) > 0 {
            wake.lock()
            wake.broadcast()
            wake.unlock()
        }
        claimAndRun(as: 0)
        withExtendedLifetime(loop) { awaitOthers(count) }
        self.loop = nil
    }

    /// Waits until `count` indices are done: spinning, then asleep.
    private func awaitOthers(_ count: Int) {
        for _ in 0..<Self.spins {
            if completed.load(ordering: .acquiring) == count { return }
            moru_cpu_relax()
        }
        finished.lock()
        callerSleeps.store(true, ordering: .sequentiallyConsistent)
        while completed.load(ordering: .sequentiallyConsistent) < count { finished.wait() }
        callerSleeps.store(false, ordering: .sequentiallyConsistent)
        finished.unlock()
    }

    /// Runs indices of the current ticket until none is left.
    private func claimAndRun(as thread: Int) {
        while true {
            let current = ticket.load(ordering: .acquiring)
            let count = current >> 20 & 0xF_FFFF
            let next = current & 0xF_FFFF
            guard next < count else { return }
            guard
                ticket.weakCompareExchange(expected: current, desired: current + 1, ordering: .acquiringAndReleasing)
                    .exchanged
            else { continue }
            loop?._withUnsafeGuaranteedRef { $0.body(Int(next), thread) }
            let done = completed.add(1, ordering: .sequentiallyConsistent).newValue
            if done == Int(count), callerSleeps.load(ordering: .sequentiallyConsistent) {
                finished.lock()
                finished.broadcast()
                finished.unlock()
            }
        }
    }

    private var hasWork: Bool {
        let current = ticket.load(ordering: .sequentiallyConsistent)
        return current & 0xF_FFFF < current >> 20 & 0xF_FFFF
    }

    func work(as thread: Int) {
        while !stopping.load(ordering: .relaxed) {
            var spins = 0
            while !hasWork, spins < Self.spins {
                moru_cpu_relax()
                spins += 1
            }
            if !hasWork { sleep() }
            claimAndRun(as: thread)
        }
    }

    private func sleep() {
        wake.lock()
        sleeping.add(1, ordering: .sequentiallyConsistent)
        while !hasWork, !stopping.load(ordering: .relaxed) { wake.wait() }
        sleeping.subtract(1, ordering: .sequentiallyConsistent)
        wake.unlock()
    }

    func stop() {
        stopping.store(true, ordering: .relaxed)
        wake.lock()
        wake.broadcast()
        wake.unlock()
    }
}
