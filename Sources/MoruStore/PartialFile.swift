import Foundation
import MoruBase

/// A file that grows as its bytes arrive, and that an interrupted pull finds again.
struct PartialFile: ~Copyable {
    let path: String
    private let descriptor: Int32
    /// The number of bytes that are there.
    private(set) var count: Int

    private init(path: String, descriptor: Int32, count: Int) {
        self.path = path
        self.descriptor = descriptor
        self.count = count
    }

    /// Opens a file for appending, creating it and the folders above it.
    ///
    /// - Throws: ``MoruError/Code/diskFull`` or ``MoruError/Code/fileUnwritable``.
    static func open(_ path: String) throws(MoruError) -> PartialFile {
        let folder = (path as NSString).deletingLastPathComponent
        if !folder.isEmpty { try FileSystem.createDirectory(folder) }
        let flags = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW
        let descriptor = Foundation.open(path, flags, 0o644)
        guard descriptor >= 0 else { throw FileSystem.error(writing: path, errno: errno) }
        return PartialFile(path: path, descriptor: descriptor, count: FileSize.of(path) ?? 0)
    }

    deinit { close(descriptor) }

    /// Appends bytes.
    ///
    /// - Throws: ``MoruError/Code/diskFull`` or ``MoruError/Code/fileUnwritable``.
    mutating func append(_ bytes: UnsafeRawBufferPointer) throws(MoruError) {
        var offset = 0
        while offset < bytes.count {
            let written = write(descriptor, bytes.baseAddress.map { $0 + offset }, bytes.count - offset)
            if written < 0 {
                if errno == EINTR { continue }
                throw FileSystem.error(writing: path, errno: errno)
            }
            offset += written
            count += written
        }
    }

    /// Forgets what is there.
    mutating func startOver() throws(MoruError) {
        guard ftruncate(descriptor, 0) == 0 else { throw FileSystem.error(writing: path, errno: errno) }
        count = 0
    }

    /// Makes sure that the bytes are on the disk.
    func flush() throws(MoruError) {
        guard fsync(descriptor) == 0 else { throw FileSystem.error(writing: path, errno: errno) }
    }
}

/// The space that is left where a path lies.
enum DiskSpace {
    /// The number of bytes that may still be written below `path` (which need not exist yet); nil if unknown.
    static func available(at path: String) -> Int? {
        var place = path
        while !place.isEmpty, place != "/", !FileSystem.exists(place) {
            place = (place as NSString).deletingLastPathComponent
        }
        var info = statvfs()
        guard statvfs(place.isEmpty ? "." : place, &info) == 0 else { return nil }
        let (bytes, overflow) = Int(info.f_bavail).multipliedReportingOverflow(by: Int(info.f_frsize))
        return overflow ? nil : bytes
    }
}
