import Foundation

/// A file mapped read-only into memory; pages are read when touched and shared with other processes.
///
/// A file must not be shortened in place while it is mapped: the system then ends the process at the next read past
/// the new end. Replacing it by a rename, as ``FileSystem`` does and downloads should, is safe: the map keeps the old file.
///
/// Unchecked: the pointer is only read through, so any thread may use it.
public final class MappedFile: @unchecked Sendable {
    /// Where the file lies.
    public let path: String
    /// The whole file.
    public let bytes: UnsafeRawBufferPointer

    /// Maps a file.
    ///
    /// - Throws: ``MoruError/Code/fileNotFound`` or ``MoruError/Code/fileUnreadable``.
    public init(path: String) throws(MoruError) {
        self.path = path
        guard FileSystem.isPath(path) else { throw FileSystem.error(reading: path, errno: ENOENT) }
        // Without O_NONBLOCK a named pipe would hold the process up until somebody writes to it
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { throw FileSystem.error(reading: path, errno: errno) }
        defer { close(descriptor) }
        var info = stat()
        guard fstat(descriptor, &info) == 0 else { throw FileSystem.error(reading: path, errno: errno) }
        guard info.st_mode & S_IFMT == S_IFREG else {
            throw MoruError(
                .fileUnreadable, "\(path) is not a regular file", remedy: "name a file, not a folder, pipe or device")
        }
        let count = Int(info.st_size)
        guard count > 0 else {
            bytes = UnsafeRawBufferPointer(start: nil, count: 0)
            return
        }
        guard let base = mmap(nil, count, PROT_READ, MAP_PRIVATE, descriptor, 0), base != MAP_FAILED else {
            throw FileSystem.error(reading: path, errno: errno)
        }
        bytes = UnsafeRawBufferPointer(start: base, count: count)
    }

    /// Takes the whole pages in a range of bytes out of the process's memory; they are read again when touched.
    package func forgetPages(_ range: Range<Int>) {
        let page = Int(sysconf(Int32(_SC_PAGESIZE)))
        let (first, end) = ((range.lowerBound + page - 1) / page * page, range.upperBound / page * page)
        guard page > 0, first < end, let base = bytes.baseAddress else { return }
        madvise(UnsafeMutableRawPointer(mutating: base + first), end - first, Int32(MADV_DONTNEED))
    }

    deinit {
        if let base = bytes.baseAddress { munmap(UnsafeMutableRawPointer(mutating: base), bytes.count) }
    }
}
