import Foundation
import Synchronization

/// Memory for tensors, kept and reused by size class, so that a steady training step or decode loop asks the
/// operating system for nothing and touches no fresh pages.
public final class Allocator: Sendable {
    /// The allocator of the process.
    public static let shared = Allocator()

    /// Bytes in use, at most ever in use, and kept for reuse.
    public struct Statistics: Sendable {
        /// Bytes that live tensors hold.
        public var liveBytes = 0
        /// The most bytes that live tensors ever held.
        public var peakBytes = 0
        /// Bytes kept for reuse.
        public var cachedBytes = 0
    }

    private struct State {
        var free: [Int: [UInt]] = [:]
        var statistics = Statistics()
        /// The most that was live in the current period and in the one before it.
        var recentPeaks = (current: 0, former: 0)
        var requestsLeft = Allocator.period

        /// Bytes that may be in use and kept together: what the work of late needed, and an eighth.
        var limit: Int {
            let peak = max(recentPeaks.current, recentPeaks.former)
            return peak + peak / 8
        }

        /// Takes kept blocks, the largest first, until at most `bytes` are kept.
        mutating func evict(downTo bytes: Int) -> [UInt] {
            var evicted: [UInt] = []
            for size in free.keys.sorted(by: >) {
                while statistics.cachedBytes > bytes, let block = free[size]?.popLast() {
                    statistics.cachedBytes -= size
                    evicted.append(block)
                }
                if free[size]?.isEmpty ?? true { free[size] = nil }
                if statistics.cachedBytes <= bytes { break }
            }
            return evicted
        }
    }

    private let state = Mutex(State())

    /// Every block starts on a multiple of this many bytes.
    static let alignment = 64
    private static let keepAtLeast = 256 << 20
    /// Requests for which a peak is remembered: several training steps, or the end of one kind of work.
    private static let period = 1 << 15

    /// What is in use now.
    public var statistics: Statistics { state.withLock { $0.statistics } }

    /// Starts a new measurement of the peak.
    public func resetPeak() {
        state.withLock { $0.statistics.peakBytes = $0.statistics.liveBytes }
    }

    /// Gives the kept blocks back to the operating system.
    public func trim() { Self.free(state.withLock { $0.evict(downTo: 0) }) }

    private static func free(_ blocks: [UInt]) {
        for block in blocks { Foundation.free(UnsafeMutableRawPointer(bitPattern: block)) }
    }

    /// The size a request is rounded up to: steps of an eighth of a power of two waste at most 12.5 %.
    static func sizeClass(_ byteCount: Int) -> Int {
        guard byteCount > 512 else { return (max(byteCount, 1) + 63) & ~63 }
        let step = max(64, 1 << (Int.bitWidth - 1 - byteCount.leadingZeroBitCount - 3))
        return (byteCount + step - 1) / step * step
    }

    func allocate(_ byteCount: Int) -> UnsafeMutableRawPointer {
        let size = Self.sizeClass(byteCount)
        let (reused, evicted) = state.withLock { state -> (UInt?, [UInt]) in
            state.statistics.liveBytes += size
            let live = state.statistics.liveBytes
            state.statistics.peakBytes = max(state.statistics.peakBytes, live)
            state.recentPeaks.current = max(state.recentPeaks.current, live)
            state.requestsLeft -= 1
            if state.requestsLeft == 0 {
                state.recentPeaks = (live, state.recentPeaks.current)
                state.requestsLeft = Self.period
            }
            if let block = state.free[size]?.popLast() {
                state.statistics.cachedBytes -= size
                return (block, [])
            }
            // A fresh block: what is kept in other sizes makes room for it
            let room = max(0, state.limit - live)
            return (nil, state.statistics.cachedBytes > room ? state.evict(downTo: room) : [])
        }
        if let reused, let pointer = UnsafeMutableRawPointer(bitPattern: reused) { return pointer }
        Self.free(evicted)
        var pointer: UnsafeMutableRawPointer?
        let isLarge = size >= 4 << 20
        let status = posix_memalign(&pointer, isLarge ? 2 << 20 : Self.alignment, size)
        guard status == 0, let pointer else {
            preconditionFailure("out of memory: \(size) bytes could not be allocated")
        }
        if isLarge { madvise(pointer, size, 14) }  // MADV_HUGEPAGE: fewer TLB misses; a refusal does no harm
        return pointer
    }

    func release(_ pointer: UnsafeMutableRawPointer, byteCount: Int) {
        let size = Self.sizeClass(byteCount)
        let evicted = state.withLock { state in
            state.statistics.liveBytes -= size
            state.statistics.cachedBytes += size
            state.free[size, default: []].append(UInt(bitPattern: pointer))
            let room = max(Self.keepAtLeast, state.limit - state.statistics.liveBytes)
            return state.statistics.cachedBytes > room ? state.evict(downTo: room) : []
        }
        Self.free(evicted)
    }
}
