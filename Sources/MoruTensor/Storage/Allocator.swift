import Foundation
import Synchronization

/// Memory for tensors, kept and reused, so that a steady training step or decode loop asks the operating system for
/// nothing and touches no fresh pages.
///
/// Small blocks are reused by size class. Large ones lie side by side in regions, and what they leave serves blocks of
/// any size: gradients take the place of activations, and activations that of gradients.
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
        /// Small blocks kept for reuse, by size class.
        var free: [Int: [UInt]] = [:]
        var regions: [MemoryRegion] = []
        var liveBytes = 0
        var peakBytes = 0
        var smallCachedBytes = 0
        /// What lies in regions, of ``liveBytes``.
        var largeLiveBytes = 0
        /// The most that was live in the current period and in the one before it.
        var recentPeaks = (current: 0, former: 0)
        var requestsLeft = Allocator.period

        /// Bytes that may be in use and kept together: what the work of late needed, and an eighth.
        var limit: Int {
            let peak = max(recentPeaks.current, recentPeaks.former)
            return peak + peak / 8
        }

        var cachedBytes: Int {
            smallCachedBytes + regions.reduce(0) { $0 + $1.touchedBytes } - largeLiveBytes
        }

        mutating func count(_ size: Int) {
            liveBytes += size
            peakBytes = max(peakBytes, liveBytes)
            recentPeaks.current = max(recentPeaks.current, liveBytes)
            requestsLeft -= 1
            if requestsLeft == 0 {
                recentPeaks = (liveBytes, recentPeaks.current)
                requestsLeft = Allocator.period
            }
        }

        /// A block in a region; nil where the system has no memory for it.
        mutating func allocateLarge(_ size: Int) -> UInt? {
            for index in regions.indices {
                if let block = regions[index].allocate(size) { return block }
            }
            guard var region = MemoryRegion(holding: size), let block = region.allocate(size) else { return nil }
            regions.append(region)
            return block
        }

        mutating func releaseLarge(_ block: UInt, _ size: Int) {
            guard let index = regions.firstIndex(where: { $0.contains(block) }) else {
                preconditionFailure("a block of \(size) bytes is released that was not allocated")
            }
            regions[index].release(block, byteCount: size)
        }

        /// Gives back what is kept where a block that was not kept needs the room.
        mutating func makeRoom() -> [UInt] {
            let room = max(0, limit - liveBytes)
            return cachedBytes > room ? evict(downTo: room) : []
        }

        /// Gives back what is kept, of large blocks first, until at most `bytes` are.
        ///
        /// - Returns: Small blocks to be freed.
        mutating func evict(downTo bytes: Int) -> [UInt] {
            for index in regions.indices.reversed() where cachedBytes > bytes {
                regions[index].giveBack(cachedBytes - bytes)
            }
            var evicted: [UInt] = []
            for size in free.keys.sorted(by: >) {
                if cachedBytes <= bytes { break }
                while cachedBytes > bytes, let block = free[size]?.popLast() {
                    smallCachedBytes -= size
                    evicted.append(block)
                }
                if free[size]?.isEmpty ?? true { free[size] = nil }
            }
            return evicted
        }
    }

    private let state = Mutex(State())

    /// Every block starts on a multiple of this many bytes.
    static let alignment = 64
    /// From this size on blocks lie in regions.
    static let largeBytes = 1 << 18
    private static let keepAtLeast = 256 << 20
    /// Requests for which a peak is remembered: several training steps, or the end of one kind of work.
    private static let period = 1 << 15

    deinit { state.withLock { for region in $0.regions { region.unmap() } } }

    /// What is in use now.
    public var statistics: Statistics {
        state.withLock { state in
            Statistics(liveBytes: state.liveBytes, peakBytes: state.peakBytes, cachedBytes: state.cachedBytes)
        }
    }

    /// Starts a new measurement of the peak.
    public func resetPeak() {
        state.withLock { $0.peakBytes = $0.liveBytes }
    }

    /// Gives the kept memory back to the operating system, but for pieces that blocks in use share.
    public func trim() { Self.free(state.withLock { $0.evict(downTo: 0) }) }

    private static func free(_ blocks: [UInt]) {
        for block in blocks { Foundation.free(UnsafeMutableRawPointer(bitPattern: block)) }
    }

    /// The size a request is rounded up to. Steps of an eighth of a power of two waste at most 12.5 % of a small block,
    /// and nothing to speak of is wasted of a large one.
    static func sizeClass(_ byteCount: Int) -> Int {
        guard byteCount > 512 else { return (max(byteCount, 1) + 63) & ~63 }
        guard byteCount <= largeBytes else { return MemoryRegion.rounded(byteCount, MemoryRegion.unit) }
        let step = max(64, 1 << (Int.bitWidth - 1 - byteCount.leadingZeroBitCount - 3))
        return (byteCount + step - 1) / step * step
    }

    func allocate(_ byteCount: Int) -> UnsafeMutableRawPointer {
        let size = Self.sizeClass(byteCount)
        let (found, evicted) = state.withLock { state -> (UInt?, [UInt]) in
            state.count(size)
            if size >= Self.largeBytes {
                state.largeLiveBytes += size
                guard let block = state.allocateLarge(size) else { return (nil, []) }
                return (block, state.makeRoom())
            }
            if let block = state.free[size]?.popLast() {
                state.smallCachedBytes -= size
                return (block, [])
            }
            return (nil, state.makeRoom())
        }
        Self.free(evicted)
        if let found, let pointer = UnsafeMutableRawPointer(bitPattern: found) { return pointer }
        var pointer: UnsafeMutableRawPointer?
        guard size < Self.largeBytes, posix_memalign(&pointer, Self.alignment, size) == 0, let pointer else {
            preconditionFailure("out of memory: \(size) bytes could not be allocated")
        }
        return pointer
    }

    func release(_ pointer: UnsafeMutableRawPointer, byteCount: Int) {
        let (block, size) = (UInt(bitPattern: pointer), Self.sizeClass(byteCount))
        let evicted = state.withLock { state in
            state.liveBytes -= size
            if size >= Self.largeBytes {
                state.largeLiveBytes -= size
                state.releaseLarge(block, size)
            } else {
                state.smallCachedBytes += size
                state.free[size, default: []].append(block)
            }
            let room = max(Self.keepAtLeast, state.limit - state.liveBytes)
            return state.cachedBytes > room ? state.evict(downTo: room) : []
        }
        Self.free(evicted)
    }
}
