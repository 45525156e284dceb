import Foundation

/// Files as Moru treats them: read whole or mapped, and never edited in place.
///
/// A file or directory is written beside its destination, flushed, then renamed over it, so that a crash, a full
/// disk or a kill leaves either what was there or what was meant, never half of it.
public enum FileSystem {
    /// Reads a whole file.
    ///
    /// - Throws: ``MoruError/Code/fileNotFound`` or ``MoruError/Code/fileUnreadable``.
    public static func read(_ path: String) throws(MoruError) -> [UInt8] {
        let file = try MappedFile(path: path)
        return withExtendedLifetime(file) { [UInt8](file.bytes) }
    }

    /// Reads a whole UTF-8 file.
    ///
    /// - Throws: As ``read(_:)``, or ``MoruError/Code/textEncoding`` when the bytes are not UTF-8.
    public static func readText(_ path: String) throws(MoruError) -> String {
        try TextEncoding.text(try read(path), source: path)
    }

    /// Whether something exists at `path`.
    public static func exists(_ path: String) -> Bool { isPath(path) && access(path, F_OK) == 0 }

    /// Whether a text can be a path: the system reads one up to its first NUL, and would take another file.
    static func isPath(_ path: String) -> Bool { !path.utf8.contains(0) }

    /// Whether `path` is a directory.
    public static func isDirectory(_ path: String) -> Bool {
        var info = stat()
        return isPath(path) && stat(path, &info) == 0 && info.st_mode & S_IFMT == S_IFDIR
    }

    /// The path of what `path` leads to, without links; `path` itself where nothing is there.
    package static func resolved(_ path: String) -> String {
        guard isPath(path), let real = realpath(path, nil) else { return path }
        defer { free(real) }
        return String(cString: real)
    }

    /// The names in a directory, sorted.
    ///
    /// - Throws: ``MoruError/Code/fileNotFound`` or ``MoruError/Code/fileUnreadable``.
    public static func list(_ directory: String) throws(MoruError) -> [String] {
        do {
            return try FileManager.default.contentsOfDirectory(atPath: directory).sorted()
        } catch {
            throw MoruError(
                exists(directory) ? .fileUnreadable : .fileNotFound, "cannot list \(directory)", cause: error)
        }
    }

    /// Creates a directory and those above it.
    ///
    /// - Throws: ``MoruError/Code/fileUnwritable``, also where a file has the name of one of them, or
    ///   ``MoruError/Code/diskFull``.
    public static func createDirectory(_ path: String) throws(MoruError) {
        guard !isDirectory(path) else { return }
        let parent = (path as NSString).deletingLastPathComponent
        if !parent.isEmpty, parent != path { try createDirectory(parent) }
        guard isPath(path) else { throw error(writing: path, errno: EINVAL) }
        guard mkdir(path, 0o777) != 0 else { return }
        let reason = errno
        // Another process may have made it just now
        guard reason != EEXIST || !isDirectory(path) else { return }
        throw reason == EEXIST
            ? MoruError(.fileUnwritable, "\(path) is not a directory", remedy: "name another place, or move it away")
            : error(writing: path, errno: reason)
    }

    /// Removes a file or directory; nothing happens when there is none.
    public static func remove(_ path: String) {
        try? FileManager.default.removeItem(atPath: path)
    }

    /// Writes a file whole: beside its destination, flushed, then renamed over it.
    ///
    /// - Parameter body: Writes the content through the given writer, in pieces.
    /// - Throws: ``MoruError/Code/fileUnwritable``, ``MoruError/Code/diskFull``, or what `body` throws; the
    ///   destination is then untouched.
    public static func writeAtomically(
        to path: String, _ body: (inout FileWriter) throws -> Void
    ) throws {
        let directory = (path as NSString).deletingLastPathComponent
        if !directory.isEmpty { try createDirectory(directory) }
        let temporary = "\(path).\(getpid()).\(UInt32.random(in: 0...UInt32.max)).partial"
        UnfinishedFiles.begin(temporary)
        defer { UnfinishedFiles.end(temporary) }
        do {
            var writer = try FileWriter(path: temporary)
            try body(&writer)
            try writer.finish()
            let reason = UnfinishedFiles.complete { rename(temporary, path) == 0 ? 0 : errno }
            guard reason == 0 else { throw error(writing: path, errno: reason) }
            flushDirectory(directory.isEmpty ? "." : directory)
        } catch {
            unlink(temporary)
            throw error
        }
    }

    /// Writes text or bytes to a file whole; see ``writeAtomically(to:_:)``.
    public static func write(_ bytes: some Collection<UInt8>, to path: String) throws {
        try writeAtomically(to: path) { try $0.write(Array(bytes)) }
    }

    /// Builds a directory beside its destination, then swaps it in with a rename.
    ///
    /// - Parameter body: Fills the temporary directory whose path it is given.
    /// - Throws: What `body` throws, or ``MoruError/Code/fileUnwritable``; the destination is then untouched.
    public static func writeDirectoryAtomically(to path: String, _ body: (String) throws -> Void) throws {
        // What lies beside `run/` is found without its slash
        let path = String(path.reversed().drop { $0 == "/" }.reversed())
        let parent = (path as NSString).deletingLastPathComponent
        if !parent.isEmpty { try createDirectory(parent) }
        let tag = "\(getpid()).\(UInt32.random(in: 0...UInt32.max))"
        let temporary = "\(path).\(tag).partial"
        let previous = "\(path).\(tag).previous"
        UnfinishedFiles.begin(temporary)
        defer { UnfinishedFiles.end(temporary) }
        do {
            try createDirectory(temporary)
            try body(temporary)
            flushDirectory(temporary)
            if exists(path), exchange(temporary, path) {
                flushDirectory(parent.isEmpty ? "." : parent)
                remove(temporary)
                return
            }
            let hadPrevious = exists(path)
            let reason = UnfinishedFiles.complete {
                if hadPrevious, rename(path, previous) != 0 { return errno }
                guard rename(temporary, path) != 0 else { return 0 }
                defer { if hadPrevious { rename(previous, path) } }
                return errno
            }
            guard reason == 0 else { throw error(writing: path, errno: reason) }
            flushDirectory(parent.isEmpty ? "." : parent)
            if hadPrevious { remove(previous) }
        } catch {
            remove(temporary)
            throw error
        }
    }

    /// Swaps two paths in one step, so that there is no instant in which neither is in place.
    ///
    /// - Returns: False where the system or the file system cannot do that.
    package static func exchange(_ first: String, _ second: String) -> Bool {
        typealias RenameAt2 =
            @convention(c) (
                Int32, UnsafePointer<CChar>, Int32, UnsafePointer<CChar>, UInt32
            ) -> Int32
        // Linux has it, but its header shows it only with a feature macro that Swift does not set
        guard let symbol = dlsym(nil, "renameat2") else { return false }
        let swapFlag: UInt32 = 2
        return unsafeBitCast(symbol, to: RenameAt2.self)(AT_FDCWD, first, AT_FDCWD, second, swapFlag) == 0
    }

    package static func flushDirectory(_ path: String) {
        let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { return }
        fsync(descriptor)
        close(descriptor)
    }

    package static func error(reading path: String, errno code: Int32) -> MoruError {
        let reason = String(cString: strerror(code))
        if code == ENOENT {
            return MoruError(.fileNotFound, "\(path) does not exist", remedy: "check the path")
        }
        return MoruError(.fileUnreadable, "cannot read \(path): \(reason)")
    }

    /// The error of a write; temporary names (`model.gguf.12.34.partial`) are told as what they are to become.
    package static func error(writing path: String, errno code: Int32) -> MoruError {
        let path = path.replacing(/\.\d+\.\d+\.partial/, with: "")
        if code == ENOSPC || code == EDQUOT {
            return MoruError(.diskFull, "no space left to write \(path)", remedy: "free some space, then run again")
        }
        return MoruError(
            .fileUnwritable, "cannot write \(path): \(String(cString: strerror(code)))",
            remedy: "check that the folder above it exists and may be written")
    }
}

/// Appends bytes to a new file; see ``FileSystem/writeAtomically(to:_:)``.
public struct FileWriter: ~Copyable {
    private let path: String
    private let descriptor: Int32

    init(path: String) throws(MoruError) {
        self.path = path
        let isPath = FileSystem.isPath(path)
        descriptor = isPath ? open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o644) : -1
        guard descriptor >= 0 else { throw FileSystem.error(writing: path, errno: isPath ? errno : EINVAL) }
    }

    deinit { close(descriptor) }

    /// Appends bytes.
    ///
    /// - Throws: ``MoruError/Code/diskFull`` or ``MoruError/Code/fileUnwritable``.
    public mutating func write(_ bytes: UnsafeRawBufferPointer) throws(MoruError) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let written = Foundation.write(descriptor, rest.baseAddress, min(rest.count, 1 << 30))
            if written < 0 {
                if errno == EINTR { continue }
                throw FileSystem.error(writing: path, errno: errno)
            }
            rest = rest.dropFirst(written)
        }
    }

    /// Appends bytes.
    public mutating func write(_ bytes: [UInt8]) throws(MoruError) {
        let result = bytes.withUnsafeBytes { buffer -> MoruError? in
            do throws(MoruError) {
                try write(buffer)
                return nil
            } catch {
                return error
            }
        }
        if let result { throw result }
    }

    /// Appends UTF-8 text.
    public mutating func write(_ text: String) throws(MoruError) { try write(Array(text.utf8)) }

    mutating func finish() throws(MoruError) {
        guard fsync(descriptor) == 0 else { throw FileSystem.error(writing: path, errno: errno) }
    }
}

extension Slice where Base == UnsafeRawBufferPointer {
    fileprivate var baseAddress: UnsafeRawPointer? { base.baseAddress.map { $0 + startIndex } }
}
