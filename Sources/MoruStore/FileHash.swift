import Crypto
import Foundation
import MoruBase

/// Hashes of files.
enum FileHash {
    /// How the content of a file is known beforehand.
    enum Expected: Sendable, Hashable {
        /// The SHA-256 of the content: catalogued files and the hub's large files.
        case sha256(String)
        /// The SHA-1 of git's blob header and the content: the hub's small files.
        case gitBlob(String)
        /// Not known; only the size is checked.
        case unknown
    }

    /// The SHA-256 of a file, in lowercase hexadecimal.
    ///
    /// - Parameter progress: Called with the number of bytes read so far, after every piece.
    static func sha256(of path: String, progress: (Int) -> Void = { _ in }) throws(MoruError) -> String {
        var hasher = SHA256()
        try read(path, progress: progress) { hasher.update(bufferPointer: $0) }
        return hex(hasher.finalize())
    }

    /// The SHA-1 that git gives the file's content as a blob, in lowercase hexadecimal.
    static func gitBlob(of path: String) throws(MoruError) -> String {
        var hasher = Insecure.SHA1()
        hasher.update(data: Data("blob \(FileSize.of(path) ?? 0)\0".utf8))
        try read(path, progress: { _ in }) { hasher.update(bufferPointer: $0) }
        return hex(hasher.finalize())
    }

    private static func hex(_ digest: some Digest) -> String {
        var text = ""
        text.reserveCapacity(64)
        for byte in digest { text += (byte < 16 ? "0" : "") + String(byte, radix: 16) }
        return text
    }

    private static func read(
        _ path: String, progress: (Int) -> Void, _ body: (UnsafeRawBufferPointer) -> Void
    ) throws(MoruError) {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw FileSystem.error(reading: path, errno: errno) }
        defer { close(descriptor) }
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 64)
        defer { buffer.deallocate() }
        var total = 0
        while true {
            let count = Foundation.read(descriptor, buffer.baseAddress, buffer.count)
            if count < 0 {
                if errno == EINTR { continue }
                throw FileSystem.error(reading: path, errno: errno)
            }
            if count == 0 { return }
            if Task.isCancelled { throw MoruError(.cancelled, "stopped while reading \(path)") }
            total += count
            body(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
            progress(total)
        }
    }
}
