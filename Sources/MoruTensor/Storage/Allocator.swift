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
    }

    private let state = Mutex(State())

    /// Every block starts on a multiple of this many bytes.
    static let alignment = 64
    private static let keepAtLeast = 256 << 20

    /// What is in use now.
    public var statistics: Statistics { state.withLock { $0.statistics } }

    /// Starts a new measurement of the peak.
    public func resetPeak() {
        state.withLock { $0.statistics.peakBytes = $0.statistics.liveBytes }
    }

    /// Gives the kept blocks back to the operating system.
    public func trim() {
        let blocks = state.withLock { state in
            defer {
                state.free = [:]
                state.statistics.cachedBytes = 0
            }
            return state.free.values.flatMap { $0 }
        }
        for block in blocks { free(UnsafeMutableRawPointer(bitPattern: block)) }
    }

    /// The size a request is rounded up to: steps of an eighth of a power of two waste at most 12.5 %.
    static func sizeClass(_ byteCount: Int) -> Int {
        guard byteCount > 512 else { return (max(byteCount, 1) + 63) & ~63 }
        let step = max(64, 1 << (Int.bitWidth - 1 - byteCount.leadingZeroBitCount - 3))
        return (byteCount + step - 1) / step * step
    }

    func allocate(_ byteCount: Int) -> UnsafeMutableRawPointer {
        let size = Self.sizeClass(byteCount)
        let reused: UInt? = state.withLock { state in
            state.statistics.liveBytes += size
            state.statistics.peakBytes = max(state.statistics.peakBytes, state.statistics.liveBytes)
            guard let block = state.free[size]?.popLast() else { return nil }
            state.statistics.cachedBytes -= size
            return block
        }
        if let reused, let pointer = UnsafeMutableRawPointer(bitPattern: reused) { return pointer }
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
        let overfull = state.withLock { state in
            state.statistics.liveBytes -= size
            state.statistics.cachedBytes += size
            state.free[size, default: []].append(UInt(bitPattern: pointer))
            return state.statistics.cachedBytes > max(Self.keepAtLeast, state.statistics.liveBytes)
        }
        if overfull { trim() }
    }
}
