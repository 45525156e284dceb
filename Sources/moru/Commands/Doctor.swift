import ArgumentParser
import Foundation
import MoruBase
import MoruStore
import MoruTensor

/// `moru doctor`: what this machine has, and what is missing.
struct Doctor: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Print CPU features, memory, the selected kernels, and what is missing.",
        discussion: """
            Examples:
              moru doctor
              MORU_CPU=avx2 moru doctor --json
            """)

    @OptionGroup var output: OutputOptions

    private struct Check {
        let key: String
        let value: JSON
        let text: String
        var remedy: String?
    }

    func run() throws {
        let checks = machine() + surroundings()
        if output.json {
            var result = JSONObject(checks.map { ($0.key, $0.value) })
            result["problems"] = .array(checks.compactMap { $0.remedy.map { .string($0) } })
            Terminal.result(JSON.object(result).text(pretty: true))
            return
        }
        let width = checks.map(\.key.count).max() ?? 0
        for check in checks {
            let mark = check.remedy == nil ? "✓" : "!"
            let label = check.key.replacing("_", with: " ")
            Terminal.result("\(mark) \(label)\(String(repeating: " ", count: width - label.count + 2))\(check.text)")
            if let remedy = check.remedy { Terminal.result("    \(remedy)") }
        }
    }

    private func machine() -> [Check] {
        let runtime = Runtime.shared
        let (memory, present) = (Machine.memory, ProcessInfo.processInfo.activeProcessorCount)
        let allowed = Machine.processors < present ? ", of which this container may use \(Machine.processors)" : ""
        return [
            Check(key: "moru", value: .string(Moru.version), text: Moru.version),
            Check(key: "cpu", value: .string(Runtime.cpuFeatures), text: Runtime.cpuFeatures),
            Check(
                key: "kernels", value: .string(runtime.kernelName),
                text: "\(runtime.kernelName) (available: \(Runtime.availableKernels.joined(separator: ", ")))",
                remedy: runtime.kernelSetback),
            Check(
                key: "threads", value: .int(runtime.threads.threadCount),
                text: "\(runtime.threads.threadCount) (processors: \(present)\(allowed))"),
            Check(
                key: "precision", value: .string(runtime.defaultPrecision.rawValue),
                text: runtime.defaultPrecision.rawValue),
            Check(
                key: "memory", value: .int(memory), text: ByteCount.text(memory),
                remedy: memory < 4_000_000_000 ? "tuning a 135M model wants about 2 GB free" : nil),
        ]
    }

    private func surroundings() -> [Check] {
        let store = ModelStore()
        let models = (try? store.models()) ?? []
        let free = Self.freeBytes(at: store.root)
        let python = Self.findExecutable("python3")
        let token = ProcessInfo.processInfo.environment["HF_TOKEN"] != nil
        return [
            Check(
                key: "home", value: .string(store.root),
                text: store.root + (free.map { ", \(ByteCount.text($0)) free" } ?? ""),
                remedy: (free ?? .max) < 1_000_000_000 ? "less than 1 GB is free for models" : nil),
            Check(
                key: "models", value: .array(models.map { .string($0.name) }),
                text: models.isEmpty ? "none" : models.map(\.name).joined(separator: ", "),
                remedy: models.isEmpty ? "fetch one with: moru pull \(Catalog.defaultModel)" : nil),
            Check(
                key: "python3", value: python.map { .string($0) } ?? .null, text: python ?? "not found",
                remedy: python == nil ? "pulling models that come as Python packages needs python3 with pip" : nil),
            Check(
                key: "hub_token", value: .bool(token),
                text: token ? "HF_TOKEN is set" : "none (only gated models need one)"),
        ]
    }

    private static func freeBytes(at path: String) -> Int? {
        var place = path
        while !FileSystem.exists(place), place.count > 1 { place = (place as NSString).deletingLastPathComponent }
        var info = statvfs()
        return statvfs(place, &info) == 0 ? Int(info.f_bavail) * Int(info.f_frsize) : nil
    }

    private static func findExecutable(_ name: String) -> String? {
        let path = ProcessInfo.processInfo.environment["PATH"] ?? ""
        return path.split(separator: ":").map { "\($0)/\(name)" }.first { access($0, X_OK) == 0 }
    }
}
