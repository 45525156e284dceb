import Foundation
import MoruBase

/// A program that this package builds, run as a process of its own.
public struct BuiltProgram: Sendable {
    /// What a run printed and how it ended.
    public struct Outcome: Sendable {
        /// Standard output.
        public let output: String
        /// Standard error.
        public let errors: String
        /// The exit code.
        public let code: Int32
    }

    /// How long a program may take to end after it was watched. Programs of tests end within seconds; beside all other
    /// tests on a busy machine, within minutes.
    private static let patience = Duration.seconds(480)

    private let path: String
    private let environment: [String: String]

    /// The program of a name, which lies beside the tests.
    ///
    /// - Parameters:
    ///   - name: The product's name.
    ///   - environment: Variables to set besides those of the tests; an empty value removes one.
    public init(_ name: String, environment: [String: String] = [:]) {
        // The test bundle lies in the folder that the products are built in
        path =
            Bundle.allBundles.map { ($0.bundlePath as NSString).deletingLastPathComponent + "/" + name }
            .first { FileSystem.exists($0) }
            ?? (CommandLine.arguments[0] as NSString).deletingLastPathComponent + "/" + name
        self.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }.filter { !$0.value.isEmpty }
    }

    /// Whether the program was built.
    public var exists: Bool { FileSystem.exists(path) }

    /// What comes before a command that is to see the first of this process's processors only.
    private static var onOneProcessor: [String] {
        get throws {
            let status = try FileSystem.readText("/proc/self/status").split(separator: "\n")
            let processors = status.first { $0.hasPrefix("Cpus_allowed_list:") }?.drop { !$0.isNumber } ?? "0"
            return ["/usr/bin/taskset", "-c", String(processors.prefix(while: \.isNumber))]
        }
    }

    /// Runs the program to its end.
    ///
    /// - Parameters:
    ///   - onOneProcessor: Whether the program sees a machine with a single processor (Linux).
    ///   - body: Called once it has started, to watch it or to interrupt it.
    /// - Throws: What starting it throws.
    public func run(
        _ arguments: [String], input: String = "", onOneProcessor: Bool = false,
        while body: (Process) throws -> Void = { _ in }
    ) throws -> Outcome {
        let process = Process()
        let command = onOneProcessor ? try Self.onOneProcessor + [path] + arguments : [path] + arguments
        process.executableURL = URL(fileURLWithPath: command[0])
        process.arguments = Array(command.dropFirst())
        process.environment = environment
        // Files, not pipes: a program that prints much on both would block on the one that is not being read
        let names = ["in", "out", "err"].map { TestNeeds.temporaryPath("program.\($0)") }
        defer {
            for name in names { FileSystem.remove(name) }
        }
        try FileSystem.write(input.utf8, to: names[0])
        for name in names.dropFirst() { try FileSystem.write([], to: name) }
        process.standardInput = FileHandle(forReadingAtPath: names[0])
        process.standardOutput = FileHandle(forWritingAtPath: names[1])
        process.standardError = FileHandle(forWritingAtPath: names[2])
        try process.run()
        try body(process)
        let end = ContinuousClock.now + Self.patience
        while process.isRunning {
            if ContinuousClock.now > end {
                kill(process.processIdentifier, SIGKILL)
                process.waitUntilExit()
                let last = try FileSystem.readText(names[2]).suffix(500)
                throw MoruError(.cancelled, "\(arguments) did not end: \(last)")
            }
            usleep(5_000)
        }
        return Outcome(
            output: try FileSystem.readText(names[1]), errors: try FileSystem.readText(names[2]),
            code: process.terminationStatus)
    }
}
