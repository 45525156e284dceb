import Foundation
import MoruBase
import MoruTensor

/// Where a run took place, as its directory's `environment.json` keeps it.
public enum RunEnvironment {
    private static let file = "environment.json"

    /// Notes the environment of this process in a run's directory.
    ///
    /// - Throws: What the file system throws.
    public static func write(to directory: String, version: String) throws {
        let process = ProcessInfo.processInfo
        var json: JSONObject = JSONObject([
            ("moru", .string(version)), ("system", .string(process.operatingSystemVersionString)),
            ("processors", .int(Machine.processors)), ("memory_bytes", .int(Machine.memory)),
            ("instruction_sets", .string(Runtime.cpuFeatures)), ("kernels", .string(Runtime.shared.kernelName)),
            ("threads", .int(Runtime.shared.threads.threadCount)),
            ("command", .string(process.arguments.joined(separator: " "))),
        ])
        if let model = processorName { json["processor"] = .string(model) }
        try FileSystem.createDirectory(directory)
        try FileSystem.write(
            (JSON.object(json).text(pretty: true) + "\n").utf8, to: "\(directory)/\(file)")
    }

    /// What was noted, by key; empty where nothing was.
    static func read(_ directory: String) -> [(key: String, value: String)] {
        guard let json = try? JSON.parse(file: "\(directory)/\(file)"), let object = json.object else { return [] }
        return object.members.map { key, value in
            let text = value.string ?? value.text()
            if key == "memory_bytes" { return ("memory", "\((value.int ?? 0) >> 20) MiB") }
            return (key.replacing("_", with: " "), text)
        }
    }

    private static var processorName: String? {
        guard let text = try? FileSystem.readText("/proc/cpuinfo") else { return nil }
        return text.split(separator: "\n").first { $0.hasPrefix("model name") }?
            .split(separator: ":", maxSplits: 1).last.map { $0.trimmingCharacters(in: .whitespaces) }
    }
}
