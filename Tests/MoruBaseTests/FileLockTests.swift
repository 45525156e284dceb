import Foundation
import MoruBase
import MoruTestKit
import Synchronization
import Testing

/// Locks on files keep others out, in this process and in others, for as long as they are held.
@Suite final class FileLockTests {
    private let folder = TestNeeds.temporaryPath("lock")
    private var path: String { folder + "/some/where/lock" }

    deinit { FileSystem.remove(folder) }

    @Test func aLockIsHeldUntilItIsReleased() throws {
        var lock = try FileLock.attempt(path)
        #expect(lock != nil)
        #expect(try FileLock.attempt(path) == nil)
        #expect(FileLock.holder(of: path) == "process \(getpid())")
        lock = nil
        lock = try FileLock.attempt(path)
        #expect(lock != nil)
        lock?.release()
        let other = try FileLock.attempt(path)
        #expect(other != nil)
        // What was released is not held again, nor given back again, by who had it
        lock = nil
        #expect(try FileLock.attempt(path) == nil)
    }

    @Test func otherProcessesAreKeptOut() async throws {
        let lock = try FileLock.attempt(path)
        await #expect(processExitsWith: .success) { [path = path as String, pid = getpid() as Int32] in
            let mine = try FileLock.attempt(path)
            #expect(mine == nil && FileLock.holder(of: path) == "process \(pid)")
        }
        lock?.release()
        await #expect(processExitsWith: .signal(SIGKILL)) { [path = path as String] in
            let lock = try #require(try FileLock.attempt(path))
            withExtendedLifetime(lock) { _ = kill(getpid(), SIGKILL) }
        }
        // Its holder is gone, though its note is still there
        #expect(FileLock.holder(of: path) != "process \(getpid())")
        #expect(try FileLock.attempt(path) != nil)
        #expect(FileLock.holder(of: path) == "process \(getpid())")
    }

    @Test func whoWaitsIsToldOnceForWhom() async throws {
        let path = path
        let lock = try #require(try FileLock.attempt(path))
        let told = Mutex<[String]>([])
        async let waiting = FileLock.wait(for: path) { holder in told.withLock { $0.append(holder) } }
        try await Task.sleep(for: .milliseconds(250))
        lock.release()
        let taken = try await waiting
        #expect(told.withLock { $0 } == ["process \(getpid())"])
        #expect(try FileLock.attempt(path) == nil)
        let givenUp = Task { try await FileLock.wait(for: path) { _ in } }
        givenUp.cancel()
        await #expect(throws: CancellationError.self) { try await givenUp.value }
        taken.release()
    }

    @Test func whatCannotBeLockedIsNamed() throws {
        try FileSystem.createDirectory(path)
        let error = #expect(throws: MoruError.self) { try FileLock.attempt(self.path) }
        #expect(error?.code == .fileUnwritable && error?.message.contains(path) == true)
        try FileSystem.write([49], to: folder + "/file")
        #expect(throws: MoruError.self) { try FileLock.attempt(self.folder + "/file/lock") }
        #expect(FileLock.holder(of: folder + "/nothing") == "another process")
    }
}
