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
        let allowed = ControlGroup().availableMemory
        return [available, allowed].compactMap { $0 }.min()
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
