import Foundation
import MoruBase
import Testing

@testable import MoruStore

/// Makes wheels for the real pip to find: `PIP_NO_INDEX=1 PIP_FIND_LINKS=<folder>`.
enum TestWheel {
    /// Whether there is a Python with pip.
    static let pipIsThere: Bool = {
        let environment = ProcessInfo.processInfo.environment
        guard let python = ChildProcess.find("python3", environment: environment) else { return false }
        let process = Process()
        process.executableURL = URL(fileURLWithPath: python)
        process.arguments = ["-m", "pip", "--version"]
        process.standardOutput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        guard (try? process.run()) != nil else { return false }
        process.waitUntilExit()
        return process.terminationStatus == 0
    }()

    /// Writes `<name>-<version>-py3-none-any.whl` with these members into a folder.
    static func make(
        name: String, version: String, members: [String: [UInt8]], in folder: String, bench: Workbench
    ) async throws {
        let plain = name.replacingOccurrences(of: "-", with: "_")
        let info = "\(plain)-\(version).dist-info"
        var members = members
        members["\(info)/METADATA"] = Array("Metadata-Version: 2.1\nName: \(name)\nVersion: \(version)\n".utf8)
        members["\(info)/WHEEL"] = Array(
            "Wheel-Version: 1.0\nGenerator: moru\nRoot-Is-Purelib: true\nTag: py3-none-any\n".utf8)
        members["\(info)/RECORD"] = []
        for (path, bytes) in members { try bench.write(bytes, to: "wheel-source/\(path)") }
        try FileSystem.createDirectory(folder)
        let script = """
            import os, sys, zipfile
            root = sys.argv[1]
            with zipfile.ZipFile(sys.argv[2], "w", zipfile.ZIP_DEFLATED) as wheel:
                for folder, _, names in os.walk(root):
                    for name in names:
                        path = os.path.join(folder, name)
                        wheel.write(path, os.path.relpath(path, root))
            """
        let environment = ProcessInfo.processInfo.environment
        let python = try #require(ChildProcess.find("python3", environment: environment))
        let wheel = "\(folder)/\(plain)-\(version)-py3-none-any.whl"
        let status = try await ChildProcess.run(
            python, ["-c", script, "\(bench.folder)/wheel-source", wheel], environment: environment,
            log: "\(bench.folder)/wheel.log", poll: {})
        #expect(status == 0)
        FileSystem.remove("\(bench.folder)/wheel-source")
    }
}
