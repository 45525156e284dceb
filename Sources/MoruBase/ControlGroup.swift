import Foundation

/// What a container or a service manager allows this process: its control groups on Linux, of version 1 and 2
/// (https://docs.kernel.org/admin-guide/cgroup-v2.html). Elsewhere there are none, and nothing is limited.
package struct ControlGroup {
    private let root: String

    /// The groups of this process.
    ///
    /// - Parameter root: Where `proc` and `sys` are.
    package init(root: String = "") { self.root = root }

    /// How many processors' time the process may take, such as 1.5; nil without a limit.
    package var processors: Double? {
        let unified = groups("").compactMap { group -> Double? in
            let parts = text(group + "/cpu.max")?.split(whereSeparator: \.isWhitespace).map { Int($0) } ?? []
            return parts.count == 2 ? Self.share(parts[0], of: parts[1]) : nil
        }
        let separate = groups("cpu").compactMap { group in
            Self.share(number(group + "/cpu.cfs_quota_us"), of: number(group + "/cpu.cfs_period_us"))
        }
        return (unified + separate).min()
    }

    /// Bytes of memory that the process may take together with the others of its group; nil without a limit.
    package var memoryLimit: Int? { memory.map(\.limit).min() }

    /// Bytes of memory that are left of the limit; nil without one.
    package var availableMemory: Int? { memory.map { max(0, $0.limit - $0.used) }.min() }

    private var memory: [(limit: Int, used: Int)] {
        groups("").compactMap { memory($0, "memory.max", "memory.current", "inactive_file") }
            + groups("memory").compactMap {
                memory($0, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            }
    }

    private static func share(_ quota: Int?, of period: Int?) -> Double? {
        guard let quota, let period, quota > 0, period > 0 else { return nil }
        return Double(quota) / Double(period)
    }

    private func memory(_ group: String, _ limit: String, _ use: String, _ cache: String) -> (limit: Int, used: Int)? {
        // Version 1 writes "no limit" as nearly 2^63
        guard let limit = number("\(group)/\(limit)"), 0..<1 << 60 ~= limit,
            let used = number("\(group)/\(use)"), used >= 0
        else { return nil }
        // What is cached of files counts as used there, but is given up when memory is asked for
        let cached = text(group + "/memory.stat")?.split(separator: "\n").first { $0.hasPrefix(cache + " ") }
            .flatMap { Int($0.dropFirst(cache.count + 1)) }
        return (limit, used - min(used, max(0, cached ?? 0)))
    }

    /// The directories of the process's group and of those above it, all of which limit it.
    ///
    /// - Parameter controller: A controller of version 1; empty for the groups of version 2.
    private func groups(_ controller: String) -> [String] {
        let lines = text("/proc/self/cgroup")?.split(separator: "\n") ?? []
        let mount = "/sys/fs/cgroup" + (controller.isEmpty ? "" : "/" + controller)
        for line in lines {
            let fields = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
            guard fields.count == 3 else { continue }
            let controllers = fields[1].split(separator: ",")
            guard controller.isEmpty ? controllers.isEmpty : controllers.contains(where: { $0 == controller })
            else { continue }
            // Inside a container the path may be that of the host: then only its last group is there, as the mount
            var groups: [String] = []
            var path = String(fields[2])
            while path.count > 1 {
                groups.append(mount + path)
                path = (path as NSString).deletingLastPathComponent
            }
            return groups + [mount]
        }
        return []
    }

    private func text(_ path: String) -> String? { try? String(contentsOfFile: root + path, encoding: .utf8) }

    private func number(_ path: String) -> Int? { text(path).flatMap { Int($0.trimmingWhitespace()) } }
}
