import Foundation
import MoruBase

/// The right to work in a run's directory: an advisory lock on a file, which the system gives back when the process
/// ends, however it ends.
final class RunLock: Sendable {
    private let descriptor: Int32

    /// Takes the lock.
    ///
    /// - Throws: ``MoruError/Code/runInUse`` when another process (or another run of this one) has it.
    init(path: String, directory: String) throws(MoruError) {
        descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else {
            throw MoruError(.fileUnwritable, "cannot write \(path): \(String(cString: strerror(errno)))")
        }
        while flock(descriptor, LOCK_EX | LOCK_NB) != 0 {
            if errno == EINTR { continue }
            let reason = errno
            let holder = (try? FileSystem.readText(path)).flatMap { Int($0.prefix(while: \.isNumber)) }
            close(descriptor)
            guard reason == EWOULDBLOCK else {
                throw MoruError(.fileUnwritable, "cannot lock \(path): \(String(cString: strerror(reason)))")
            }
            throw MoruError(
                .runInUse, "\(holder.map { "process \($0)" } ?? "another process") is working in \(directory)",
                remedy: "wait for it, stop it, or choose another output directory")
        }
        ftruncate(descriptor, 0)
        let note = Array("\(getpid())\n".utf8)
        _ = note.withUnsafeBytes { pwrite(descriptor, $0.baseAddress, $0.count, 0) }
    }

    deinit { close(descriptor) }
}
