import Dispatch
import Foundation
import MoruBase
import Synchronization

/// A folder that keeps pages of keys and values, so that prompts that begin alike need not be computed again when memory
/// was short or after a restart. Engines of several models may share one; processes may not.
///
/// Each page is a file of its own (`PrefixFile`), named by the digest of what decides its content, written beside its
/// place, flushed and renamed; the folder's listing is the index. What is read is checked against the tokens and the
/// computation that are wanted and against its checksum. Pages unused for longest are removed when there are too many.
/// Files are read and written on threads of the folder's own.
public final class PrefixDirectory: Sendable {
    /// What a folder has and has done.
    public struct Statistics: Sendable, Hashable {
        /// Bytes of the files.
        public var bytes = 0
        /// The number of files.
        public var pages = 0
        /// Pages written.
        public var written = 0
        /// Pages read.
        public var read = 0
        /// Pages not written, because too many waited for it or the disk refused.
        public var dropped = 0
        /// Files found damaged, or to be something else than their name says.
        public var damaged = 0
    }

    private struct Entry {
        var bytes: Int
        /// Grows with each use.
        var used: Int
    }

    private struct State {
        var entries: [ContentDigest: Entry] = [:]
        var clock = 0
        var statistics = Statistics()
        /// Keys on their way to the disk.
        var pending: Set<ContentDigest> = []
        /// Bytes in memory on their way to and from the disk.
        var pendingBytes = 0
        var loadingBytes = 0
        var hasWarnedOfWriting = false
        var isClosed = false

        mutating func tick() -> Int {
            clock += 1
            return clock
        }
    }

    /// The folder.
    public let path: String
    /// Bytes of files at most.
    public let maximumBytes: Int
    private let warn: @Sendable (String) -> Void
    private let state: Mutex<State>
    private let lock: FileLock
    private let readers = DispatchQueue(label: "moru.prefixes.read", qos: .userInitiated)
    private let writers = DispatchQueue(label: "moru.prefixes.write", qos: .utility)

    /// Bytes of pages that may wait in memory to be written; and to be taken by engines.
    private static let maximumPendingBytes = 128 << 20
    private static let maximumLoadingBytes = 512 << 20
    private static let suffix = ".page"

    /// Opens a folder, which is made where there is none.
    ///
    /// - Parameter warn: Told, in a sentence, of damaged files and of a disk that refuses.
    /// - Throws: ``MoruError/Code/prefixDirectoryBusy`` when another process uses it, ``MoruError/Code/engineConfiguration``,
    ///   or what listing and making folders throws.
    public init(
        path: String, maximumBytes: Int, warn: @escaping @Sendable (String) -> Void = { _ in }
    ) throws(MoruError) {
        guard maximumBytes > 0 else {
            throw MoruError(
                .engineConfiguration, "the prefix cache on disk may have \(maximumBytes) bytes", remedy: "give it more")
        }
        (self.path, self.maximumBytes, self.warn) = (path, maximumBytes, warn)
        try FileSystem.createDirectory(path)
        let names = try FileSystem.list(path)
        guard let lock = try FileLock.attempt("\(path)/lock") else {
            throw MoruError(
                .prefixDirectoryBusy, "\(path) is in use by \(FileLock.holder(of: "\(path)/lock"))",
                remedy: "give each server its own folder for its prefix cache")
        }
        self.lock = lock
        var found: [(key: ContentDigest, bytes: Int, time: Double)] = []
        for name in names {
            // Half-written by somebody who is gone, for the folder is ours
            if name.hasSuffix(".partial"), name.contains(Self.suffix + ".") { FileSystem.remove("\(path)/\(name)") }
            guard name.hasSuffix(Self.suffix), let key = ContentDigest(name.dropLast(Self.suffix.count)) else {
                continue
            }
            var info = stat()
            guard stat("\(path)/\(name)", &info) == 0 else { continue }
            found.append((key, Int(info.st_size), Double(info.st_mtim.tv_sec) + Double(info.st_mtim.tv_nsec) * 1e-9))
        }
        var state = State()
        for (key, bytes, _) in found.sorted(by: { $0.time < $1.time }) {
            state.entries[key] = Entry(bytes: bytes, used: state.tick())
            state.statistics.bytes += bytes
        }
        self.state = Mutex(state)
        makeRoom()
    }

    /// What the folder has and has done.
    public var statistics: Statistics {
        state.withLock { state in
            var statistics = state.statistics
            statistics.pages = state.entries.count
            return statistics
        }
    }

    /// Whether a page is there, or on its way.
    func contains(_ key: ContentDigest) -> Bool {
        state.withLock { !$0.isClosed && ($0.entries[key] != nil || $0.pending.contains(key)) }
    }

    /// Waits until all is written that was to be written so far.
    public func flush() async {
        await withCheckedContinuation { continuation in writers.async { continuation.resume() } }
    }

    /// Waits until all is written that was to be written so far, and leaves the folder to others. From then on nothing is
    /// found in it, and nothing written.
    public func close() async {
        await flush()
        state.withLock { $0.isClosed = true }
        // Who is at work now was not yet told
        await withCheckedContinuation { continuation in readers.async { continuation.resume() } }
        await flush()
        lock.release()
    }

    // MARK: - Reading

    /// Reads pages of a sequence, each after the one before it, up to the first that is not there or not in order.
    ///
    /// - Parameter then: Called with their contents, on a thread of the folder's. Whoever took them calls
    ///   ``release(_:)``.
    /// - Returns: Whether they are being read; not when too many are.
    func read(
        _ pages: [PrefixIdentity], pageBytes: Int, then: @escaping @Sendable (_ contents: [[UInt8]]) -> Void
    ) -> Bool {
        let bytes = pages.count * pageBytes
        let isTaken = state.withLock { state in
            guard !state.isClosed, state.loadingBytes == 0 || state.loadingBytes + bytes <= Self.maximumLoadingBytes
            else {
                return false
            }
            state.loadingBytes += bytes
            return true
        }
        guard isTaken else { return false }
        readers.async { [self] in
            var contents: [[UInt8]] = []
            for identity in pages {
                guard let content = read(identity, pageBytes: pageBytes) else { break }
                contents.append(content)
            }
            release((pages.count - contents.count) * pageBytes)
            then(contents)
        }
        return true
    }

    /// Says that pages that were read are no longer in memory.
    func release(_ bytes: Int) { state.withLock { $0.loadingBytes -= bytes } }

    private func read(_ identity: PrefixIdentity, pageBytes: Int) -> [UInt8]? {
        let key = identity.key
        let path = path(of: key)
        do {
            let file = try MappedFile(path: path)
            let content = try withExtendedLifetime(file) {
                [UInt8](try PrefixFile.page(in: file.bytes, of: identity, pageBytes: pageBytes))
            }
            // So that the order of use outlives the process
            utimes(path, nil)
            state.withLock { state in
                let now = state.tick()
                state.entries[key]?.used = now
                state.statistics.read += 1
            }
            return content
        } catch {
            forget(key)
            // What was never ours stays where it is
            if let flaw = error as? PrefixFile.Flaw {
                state.withLock { $0.statistics.damaged += 1 }
                if flaw == .damaged { FileSystem.remove(path) }
                warn("\(path) is not a page of the prefix cache, or damaged; it is computed again")
            }
            return nil
        }
    }

    // MARK: - Writing

    /// Writes a page in its time, unless it is there or too many wait.
    func write(_ identity: PrefixIdentity, _ page: UnsafeRawBufferPointer) {
        let key = identity.key
        let bytes = PrefixFile.byteCount(identity, pageBytes: page.count)
        let isTaken = state.withLock { state in
            guard !state.isClosed, state.entries[key] == nil, !state.pending.contains(key), bytes <= maximumBytes else {
                return false
            }
            guard state.pendingBytes + bytes <= Self.maximumPendingBytes else {
                state.statistics.dropped += 1
                return false
            }
            state.pendingBytes += bytes
            state.pending.insert(key)
            return true
        }
        guard isTaken else { return }
        let copy = [UInt8](page)
        writers.async { [self] in
            copy.withUnsafeBytes { store(identity, key, $0) }
            state.withLock { $0.pendingBytes -= bytes }
        }
    }

    /// Writes a page now, after those that wait.
    func writeNow(_ identity: PrefixIdentity, _ page: UnsafeRawBufferPointer) {
        let key = identity.key
        guard !contains(key), PrefixFile.byteCount(identity, pageBytes: page.count) <= maximumBytes else { return }
        writers.sync { store(identity, key, page) }
    }

    private func store(_ identity: PrefixIdentity, _ key: ContentDigest, _ page: UnsafeRawBufferPointer) {
        let isWanted = state.withLock { state in
            // Another engine of the same model may have written the page since it was asked for
            let isWanted = !state.isClosed && state.entries[key] == nil
            if !isWanted { state.pending.remove(key) }
            return isWanted
        }
        guard isWanted else { return }
        let file = PrefixFile.bytes(identity, page: page)
        do {
            try FileSystem.write(file, to: path(of: key))
            state.withLock { state in
                state.pending.remove(key)
                state.entries[key] = Entry(bytes: file.count, used: state.tick())
                state.statistics.bytes += file.count
                state.statistics.written += 1
            }
            makeRoom()
        } catch {
            let isFirst = state.withLock { state in
                state.pending.remove(key)
                state.statistics.dropped += 1
                defer { state.hasWarnedOfWriting = true }
                return !state.hasWarnedOfWriting
            }
            if isFirst { warn("the prefix cache cannot be written: \(error)") }
        }
    }

    /// Removes pages unused for longest, until the others fit.
    private func makeRoom() {
        let removed = state.withLock { state -> [ContentDigest] in
            guard state.statistics.bytes > maximumBytes else { return [] }
            var removed: [ContentDigest] = []
            // A little more, so that not every page that comes makes them be put in order
            let wanted = maximumBytes - maximumBytes / 20
            for (key, entry) in state.entries.sorted(by: { $0.value.used < $1.value.used }) {
                guard state.statistics.bytes > wanted else { break }
                state.entries[key] = nil
                state.statistics.bytes -= entry.bytes
                removed.append(key)
            }
            return removed
        }
        for key in removed { FileSystem.remove(path(of: key)) }
    }

    private func forget(_ key: ContentDigest) {
        state.withLock { state in
            guard let entry = state.entries.removeValue(forKey: key) else { return }
            state.statistics.bytes -= entry.bytes
        }
    }

    private func path(of key: ContentDigest) -> String { "\(path)/\(key.text)\(Self.suffix)" }
}

extension PrefixDirectory: Hashable {
    /// Whether two are the same object.
    public static func == (left: PrefixDirectory, right: PrefixDirectory) -> Bool { left === right }
    /// Hashes which object it is.
    public func hash(into hasher: inout Hasher) { hasher.combine(ObjectIdentifier(self)) }
}
