import Foundation
import MoruBase

/// Runs a program with its output in a file, so that a talkative child can never block on a pipe.
enum ChildProcess {
    /// Finds a program on the `PATH` of `environment`.
    static func find(_ name: String, environment: [String: String]) -> String? {
        for folder in (environment["PATH"] ?? "/usr/local/bin:/usr/bin:/bin").split(separator: ":") {
            let path = "\(folder)/\(name)"
            if access(path, X_OK) == 0, !FileSystem.isDirectory(path) { return path }
        }
        return nil
    }

    /// Runs a program to its end.
    ///
    /// - Parameters:
    ///   - log: The file that gets standard output and standard error.
    ///   - poll: Called some ten times a second while the program runs.
    /// - Returns: The exit status; a signal counts as 128 plus its number.
    /// - Throws: ``MoruError/Code/cancelled`` when the task is cancelled; the program is then ended.
    static func run(
        _ executable: String, _ arguments: [String], environment: [String: String], log: String, poll: () -> Void
    ) async throws -> Int32 {
        guard FileManager.default.createFile(atPath: log, contents: nil), let output = FileHandle(forWritingAtPath: log)
        else { throw MoruError(.fileUnwritable, "cannot write \(log)") }
        defer { try? output.close() }
        let process = Process()
        process.executableURL = URL(fileURLWithPath: executable)
        process.arguments = arguments
        process.environment = environment
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = output
        process.standardError = output
        try process.run()
        while process.isRunning {
            poll()
            do { try await Task.sleep(for: .milliseconds(100)) } catch {
                await end(process)
                throw MoruError(.cancelled, "stopped while running \(executable)")
            }
        }
        poll()
        return process.terminationReason == .uncaughtSignal
            ? 128 + process.terminationStatus : process.terminationStatus
    }

    /// Asks a program to end, and after two seconds makes it.
    private static func end(_ process: Process) async {
        process.terminate()
        for _ in 0..<40 {
            if !process.isRunning { return }
            usleep(50_000)
        }
        kill(process.processIdentifier, SIGKILL)
    }
}
