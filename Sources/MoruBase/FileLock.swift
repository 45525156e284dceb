import Foundation

/// The right of one at a time, among all processes and within one, to do something: an advisory lock on a file, which
/// is given back when nobody refers to it any more, and by the system when the process ends, however it ends.
package final class FileLock: Sendable {
    private let descriptor: Int32

    private init(descriptor: Int32) { self.descriptor = descriptor }

    deinit { close(descriptor) }

    /// Takes the lock on a file if it is free, and notes in the file which process holds it. The file is made if need
    /// be, with the directories above it, and stays when the lock is given back.
    ///
    /// - Returns: nil when someone else holds it; see ``holder(of:)``.
    /// - Throws: ``MoruError/Code/fileUnwritable`` or ``MoruError/Code/diskFull``.
    package static func attempt(_ path: String) throws(MoruError) -> FileLock? {
        let directory = (path as NSString).deletingLastPathComponent
        if !directory.isEmpty { try FileSystem.createDirectory(directory) }
        let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw FileSystem.error(writing: path, errno: errno) }
        let lock = FileLock(descriptor: descriptor)
        while flock(descriptor, LOCK_EX | LOCK_NB) != 0 {
            switch errno {
            case EINTR: continue
            case EWOULDBLOCK: return nil
            case let reason:
                throw MoruError(
                    .fileUnwritable, "cannot lock \(path): \(String(cString: strerror(reason)))",
                    remedy: "choose a place on a file system that has locks")
            }
        }
        ftruncate(descriptor, 0)
        let note = Array("\(getpid())\n".utf8)
        _ = note.withUnsafeBytes { pwrite(descriptor, $0.baseAddress, $0.count, 0) }
        return lock
    }

    /// Waits for the lock on a file; see ``attempt(_:)``.
    ///
    /// - Parameter waiting: Told once, if it is not free, who holds it.
    /// - Throws: As ``attempt(_:)``, or `CancellationError`.
    package static func wait(for path: String, waiting: (_ holder: String) -> Void) async throws -> FileLock {
        if let lock = try attempt(path) { return lock }
        waiting(holder(of: path))
        while true {
            try await Task.sleep(for: .milliseconds(100))
            if let lock = try attempt(path) { return lock }
        }
    }

    /// Who holds the lock on a file: "process 17", as that process noted, or "another process".
    package static func holder(of path: String) -> String {
        let noted = (try? FileSystem.readText(path)).flatMap { Int($0.prefix(while: \.isNumber)) }
        return noted.map { "process \($0)" } ?? "another process"
    }

    /// Gives the lock back before its time.
    package func release() { flock(descriptor, LOCK_UN) }
}
