import Dispatch
import Foundation
import MoruTestKit

/// The programs of `Clients`, which drive a server with clients that others wrote.
enum ClientPrograms {
    /// Runs one of them; what it needs is in ``TestNeeds/python``.
    ///
    /// - Returns: The names of the checks that held.
    /// - Throws: What it wrote to standard error, when a check did not hold.
    static func checks(of program: String, _ arguments: [String]) async throws -> [Substring] {
        let path = (#filePath as NSString).deletingLastPathComponent + "/Clients/" + program
        let printed = try await inBackground { try TestNeeds.runPython(script: path, arguments: arguments) }
        return printed.split(separator: "\n")
    }
}

/// Runs blocking work beside the threads that serve.
func inBackground<Result: Sendable>(_ work: @escaping @Sendable () throws -> Result) async throws -> Result {
    try await withCheckedThrowingContinuation { continuation in
        DispatchQueue.global().async { continuation.resume(with: Swift.Result { try work() }) }
    }
}
