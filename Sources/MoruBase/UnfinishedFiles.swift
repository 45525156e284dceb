import Foundation
import Synchronization

/// What is being written under temporary names, so that a process that is told to end leaves none of it behind.
enum UnfinishedFiles {
    private static let paths = Mutex<Set<String>>([])

    /// Notes a temporary file or directory before it is made.
    static func begin(_ path: String) { paths.withLock { _ = $0.insert(path) } }

    /// Forgets one that is finished or removed.
    static func end(_ path: String) { paths.withLock { _ = $0.remove(path) } }

    /// Puts a file or directory in its place, in steps between which the process does not end.
    ///
    /// - Returns: What `body` returns: 0, or the error of the system.
    static func complete(_ body: () -> Int32) -> Int32 { paths.withLock { _ in body() } }

    /// Removes everything that is unfinished and calls `end`; nobody begins or completes anything any more.
    static func abandon(_ end: () -> Never) -> Never {
        paths.withLock { paths in
            for path in paths {
                // Its writer may put another file into a directory meanwhile
                for _ in 0..<10 where FileSystem.exists(path) { FileSystem.remove(path) }
            }
            end()
        }
    }
}

extension FileSystem {
    /// Ends the process with `end` once whatever it is writing is removed. Files that are complete stay, and what was to
    /// be replaced stays as it was.
    public static func abandonWriting(_ end: () -> Never) -> Never { UnfinishedFiles.abandon(end) }
}
