import Foundation
import MoruBase

/// A lock that one process holds while it changes a model: an advisory lock on a file, which the system releases
/// when the process ends, however it ends.
final class PullLock: Sendable {
    private let descriptor: Int32

    private init(descriptor: Int32) { self.descriptor = descriptor }

    deinit { close(descriptor) }

    /// Takes the lock if it is free.
    ///
    /// - Returns: nil when someone else holds it.
    static func attempt(path: String) throws(MoruError) -> PullLock? {
        let folder = (path as NSString).deletingLastPathComponent
        try FileSystem.createDirectory(folder)
        let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw FileSystem.error(writing: path, errno: errno) }
        while flock(descriptor, LOCK_EX | LOCK_NB) != 0 {
            if errno == EINTR { continue }
            let reason = errno
            close(descriptor)
            if reason == EWOULDBLOCK { return nil }
            throw FileSystem.error(writing: path, errno: reason)
        }
        ftruncate(descriptor, 0)
        let note = Array("\(getpid())\n".utf8)
        _ = note.withUnsafeBytes { pwrite(descriptor, $0.baseAddress, $0.count, 0) }
        return PullLock(descriptor: descriptor)
    }

    /// The process that holds the lock, as it wrote into the file.
    static func holder(path: String) -> String? {
        guard let text = try? FileSystem.readText(path), let pid = Int(text.prefix(while: \.isNumber)) else {
            return nil
        }
        return "process \(pid)"
    }

    /// Waits for the lock, and says once that it does.
    static func acquire(path: String, waiting: (String) -> Void) async throws -> PullLock {
        var told = false
        while true {
            if let lock = try attempt(path: path) { return lock }
            if !told {
                told = true
                waiting(holder(path: path) ?? "another process")
            }
            try await Task.sleep(for: .milliseconds(100))
        }
    }
}
