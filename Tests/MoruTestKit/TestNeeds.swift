import Foundation
import MoruBase
import Testing

/// What some tests need besides the build; each is named by an environment variable that `scripts/test` sets.
public enum TestNeeds {
    /// A Python with torch, transformers, peft and the rest; nil when there is none.
    public static let python = existing("MORU_TEST_PYTHON")
    /// A Python with the lm-eval harness, which is too large to be installed for every test run; nil when there is none.
    public static let lmEval = existing("MORU_TEST_LM_EVAL")
    /// A folder with the real models; nil when there is none.
    public static let models = existing("MORU_TEST_MODELS")
    /// The real SmolLM2-135M-Instruct as GGUF Q4_1; nil when it is not there.
    public static let smolLM2 = models.map { $0 + "/SmolLM2-135M-Instruct.Q4_1.gguf" }
        .flatMap { FileSystem.exists($0) ? $0 : nil }
    /// The real all-MiniLM-L6-v2 directory; nil when it is not there.
    public static let miniLM = models.map { $0 + "/all-MiniLM-L6-v2" }.flatMap { FileSystem.exists($0) ? $0 : nil }

    /// Whether the Python of ``python`` has a module that only some tests need.
    public static func pythonHas(_ module: String) -> Bool {
        guard python != nil else { return false }
        let program = "import importlib.util, sys; sys.exit(importlib.util.find_spec(sys.argv[1]) is None)"
        return (try? runPython(program, arguments: [module])) != nil
    }

    private static func existing(_ variable: String) -> String? {
        guard let path = ProcessInfo.processInfo.environment[variable], !path.isEmpty else { return nil }
        return FileSystem.exists(path) ? path : nil
    }

    /// Runs a Python program and returns what it prints.
    ///
    /// - Parameter interpreter: The Python; ``python`` by default.
    /// - Throws: An error with what it wrote to standard error, when it fails.
    public static func runPython(
        _ program: String, arguments: [String] = [], interpreter: String? = TestNeeds.python
    ) throws -> String {
        try python(running: ["-c", program] + arguments, interpreter: interpreter)
    }

    /// Runs a Python program that lies in a file, whose folder's modules it may import, and returns what it prints.
    ///
    /// - Throws: An error with what it wrote to standard error, when it fails.
    public static func runPython(script path: String, arguments: [String]) throws -> String {
        try python(running: [path] + arguments)
    }

    private static func python(running arguments: [String], interpreter: String? = TestNeeds.python) throws -> String {
        guard let python = interpreter else { throw MoruError(.fileNotFound, "MORU_TEST_PYTHON names no interpreter") }
        let process = Process()
        process.executableURL = URL(fileURLWithPath: python)
        process.arguments = arguments
        let (output, errors) = (Pipe(), temporaryPath("stderr"))
        try FileSystem.write([], to: errors)
        process.standardOutput = output
        process.standardError = FileHandle(forWritingAtPath: errors)
        defer { FileSystem.remove(errors) }
        try process.run()
        let printed = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        guard process.terminationStatus == 0 else {
            throw MoruError(.fileUnreadable, "Python failed: \((try? FileSystem.readText(errors)) ?? "")")
        }
        return String(decoding: printed, as: UTF8.self)
    }

    /// A path in the temporary folder that nothing else uses.
    public static func temporaryPath(_ name: String) -> String {
        NSTemporaryDirectory() + "/moru-test-\(getpid())-\(UInt64.random(in: 0 ... .max))-\(name)"
    }
}

extension Tag {
    /// Compares with results of an independent framework.
    @Tag public static var golden: Self
    /// Drives a real server on loopback with a real client.
    @Tag public static var live: Self
    /// Takes more than a few seconds.
    @Tag public static var slow: Self
}
