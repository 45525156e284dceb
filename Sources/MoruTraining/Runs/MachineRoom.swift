import Foundation
import MoruBase

/// What the machine has left.
public struct MachineRoom: Sendable, Hashable {
    /// Bytes of memory that this process may still take without swapping; nil where the system does not say.
    public var memoryBytes: Int?
    /// Bytes that may still be written to a file system; nil where the system does not say.
    public var diskBytes: Int?

    /// Makes a description.
    public init(memoryBytes: Int?, diskBytes: Int?) {
        self.memoryBytes = memoryBytes
        self.diskBytes = diskBytes
    }

    /// What is left now, for a run that writes to `directory`, what is there of it already included.
    public init(for directory: String) {
        self.init(
            memoryBytes: Self.availableMemory(),
            diskBytes: Self.freeDisk(at: directory).map { $0 + FileSize.ofTree(directory) })
    }

    /// The kernel's estimate of free and reclaimable memory, or what a container's limit leaves, if that is less.
    private static func availableMemory() -> Int? {
        let lines = (try? String(contentsOfFile: "/proc/meminfo", encoding: .utf8))?.split(separator: "\n") ?? []
        let available = lines.first { $0.hasPrefix("MemAvailable:") }
            .flatMap { line in line.split(separator: " ").dropFirst().first.flatMap { Int($0) } }
            .map { $0 << 10 }
        func number(_ name: String) -> Int? {
            (try? String(contentsOfFile: "/sys/fs/cgroup/" + name, encoding: .utf8))
                .flatMap { Int($0.trimmingCharacters(in: .whitespacesAndNewlines)) }
        }
        guard let limit = number("memory.max"), let used = number("memory.current") else { return available }
        // What is cached of files counts as used there, but is given up when memory is asked for
        let statistics = (try? String(contentsOfFile: "/sys/fs/cgroup/memory.stat", encoding: .utf8)) ?? ""
        let cached =
            statistics.split(separator: "\n").first { $0.hasPrefix("inactive_file ") }
            .flatMap { Int($0.dropFirst("inactive_file ".count)) } ?? 0
        return min(available ?? .max, max(0, limit - used + cached))
    }

    /// The folder that is there already, in or above a directory that may not be.
    static func nearestFolder(of directory: String) -> String {
        var path = directory
        while !path.isEmpty, !FileSystem.isDirectory(path) { path = (path as NSString).deletingLastPathComponent }
        return path.isEmpty ? "." : path
    }

    private static func freeDisk(at directory: String) -> Int? {
        var info = statvfs()
        guard statvfs(nearestFolder(of: directory), &info) == 0 else { return nil }
        return Int(clamping: UInt64(info.f_bavail) * UInt64(info.f_frsize))
    }
}
