import Foundation
import MoruBase
import MoruTensor

/// What the process takes of the machine, by the names that Prometheus' own client libraries use, and which build it is.
///
/// What the system does not tell (other than Linux has no `/proc`) is left out.
enum ProcessMetrics {
    static var families: [MetricFamily] {
        var families = [
            MetricFamily(
                "moru_build_info", .gauge,
                "The version of Moru, and the kernels that it has chosen for this processor.",
                1,
                [
                    MetricLabel("version", MoruVersion.current),
                    MetricLabel("kernels", Runtime.shared.kernelName),
                ])
        ]
        let memory = Allocator.shared.statistics
        families.append(
            MetricFamily("moru_tensor_bytes", .gauge, "Bytes that tensors hold.", Double(memory.liveBytes)))
        families.append(
            MetricFamily(
                "moru_tensor_cached_bytes", .gauge, "Bytes kept for further tensors.", Double(memory.cachedBytes)))
        let pageSize = Double(sysconf(Int32(_SC_PAGESIZE)))
        let ticks = Double(sysconf(Int32(_SC_CLK_TCK)))
        // The fields after the program's name, which may itself have spaces and parentheses; proc(5) counts from 1
        if let text = read("/proc/self/stat"), let end = text.lastIndex(of: ")") {
            let fields = text[text.index(after: end)...].split(separator: " ")
            func field(_ number: Int) -> Double? { fields.count > number - 3 ? Double(fields[number - 3]) : nil }
            if let user = field(14), let system = field(15) {
                families.append(
                    MetricFamily(
                        "process_cpu_seconds_total", .counter, "Seconds of processors, of the user and the system.",
                        (user + system) / ticks))
            }
            if let started = field(22), let boot = bootSeconds {
                families.append(
                    MetricFamily(
                        "process_start_time_seconds", .gauge, "When the process started, in seconds since 1970.",
                        boot + started / ticks))
            }
            if let bytes = field(23) {
                families.append(
                    MetricFamily("process_virtual_memory_bytes", .gauge, "Bytes of address space.", bytes))
            }
            if let pages = field(24) {
                families.append(
                    MetricFamily(
                        "process_resident_memory_bytes", .gauge, "Bytes of memory in use.", pages * pageSize))
            }
            if let threads = field(20) {
                families.append(MetricFamily("process_threads", .gauge, "Threads of the process.", threads))
            }
        }
        if let files = try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").count {
            families.append(MetricFamily("process_open_fds", .gauge, "Open files and connections.", Double(files)))
        }
        if let limit = read("/proc/self/limits")?.split(separator: "\n").first(where: { $0.hasPrefix("Max open files") }
        ) {
            // The soft limit stands after the three words
            let most = limit.split(separator: " ").dropFirst(3).first.flatMap { Double($0) } ?? .infinity
            families.append(MetricFamily("process_max_fds", .gauge, "Files and connections at most.", most))
        }
        return families
    }

    private static var bootSeconds: Double? {
        read("/proc/stat")?.split(separator: "\n").first { $0.hasPrefix("btime ") }.flatMap { Double($0.dropFirst(6)) }
    }

    private static func read(_ path: String) -> String? { try? String(contentsOfFile: path, encoding: .utf8) }
}
