import Foundation
import MoruBase
import MoruStore
import Synchronization
import Testing

/// A folder for one test, removed when the test is over.
final class Workbench: Sendable {
    let folder: String

    init() throws {
        folder = NSTemporaryDirectory() + "moru-store-\(UUID().uuidString)"
        try FileSystem.createDirectory(folder)
    }

    deinit { FileSystem.remove(folder) }

    /// An environment in which nothing of the user's is seen, apart from where programs lie.
    func environment(_ further: [String: String] = [:]) -> [String: String] {
        let path = ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin"
        return ["PATH": path, "HOME": folder, "HF_ENDPOINT": "http://127.0.0.1:9"].merging(further) { $1 }
    }

    /// Writes a file below the folder, with the folders above it.
    @discardableResult
    func write(_ bytes: [UInt8], to name: String) throws -> String {
        try FileSystem.write(bytes, to: "\(folder)/\(name)")
        return "\(folder)/\(name)"
    }

    /// All files and folders below a folder that a user would see.
    func tree(_ name: String) -> [String] {
        guard let walker = FileManager.default.enumerator(atPath: "\(folder)/\(name)") else { return [] }
        return walker.compactMap { $0 as? String }.filter { !$0.hasPrefix(".locks") }.sorted()
    }
}

/// Bytes that look random and are the same every time.
func noise(_ count: Int, seed: UInt64) -> [UInt8] {
    var state = seed &* 0x9E37_79B9_7F4A_7C15 &+ 1
    return (0..<count).map { _ in
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
        return UInt8(truncatingIfNeeded: state >> 24)
    }
}

/// Collects what a pull tells.
final class Diary: Sendable {
    private let entries = Mutex<[PullProgress]>([])
    var steps: [PullProgress] { entries.withLock { $0 } }
    var notes: [String] { steps.compactMap(\.note) }
    var write: @Sendable (PullProgress) -> Void {
        { step in self.entries.withLock { $0.append(step) } }
    }
}

/// Runs `body`, which must throw an error with this code, and returns the error.
func expectError(
    _ code: MoruError.Code, sourceLocation: SourceLocation = #_sourceLocation, _ body: () async throws -> Void
) async -> MoruError {
    do {
        try await body()
        Issue.record("nothing was thrown instead of \(code)", sourceLocation: sourceLocation)
    } catch let error as MoruError {
        #expect(error.code == code, "\(error)", sourceLocation: sourceLocation)
        return error
    } catch {
        Issue.record("\(error) was thrown instead of \(code)", sourceLocation: sourceLocation)
    }
    return MoruError(code, "")
}
