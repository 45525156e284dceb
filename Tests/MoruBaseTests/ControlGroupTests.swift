import Foundation
import MoruTestKit
import Testing

@testable import MoruBase

/// Limits of control groups, from made-up files as Linux has them.
@Suite final class ControlGroupTests {
    private let root = TestNeeds.temporaryPath("groups")

    deinit { FileSystem.remove(root) }

    private func group(_ own: String, _ files: [String: String]) throws -> ControlGroup {
        FileSystem.remove(root)
        try FileSystem.write((own + "\n").utf8, to: root + "/proc/self/cgroup")
        for (path, text) in files { try FileSystem.write((text + "\n").utf8, to: "\(root)/sys/fs/cgroup/\(path)") }
        return ControlGroup(root: root)
    }

    @Test func nothingIsLimitedWhereNothingSaysSo() throws {
        for own in ["", "0::/", "0::/a/b", "3:cpu,cpuacct:/\n2:memory:/", "no group", "::", ":cpu:"] {
            let none = try group(own, [:])
            #expect(none.processors == nil && none.memoryLimit == nil && none.availableMemory == nil)
        }
        let open = try group("0::/", ["cpu.max": "max 100000", "memory.max": "max", "memory.current": "5"])
        #expect(open.processors == nil && open.memoryLimit == nil && open.availableMemory == nil)
        let separate = try group(
            "3:cpu,cpuacct:/\n2:memory:/",
            [
                "cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000",
                "memory/memory.limit_in_bytes": "9223372036854771712", "memory/memory.usage_in_bytes": "7",
            ])
        #expect(separate.processors == nil && separate.memoryLimit == nil && separate.availableMemory == nil)
    }

    /// As in a container: its own group is the root that it sees.
    @Test func aContainersLimitsAreThoseOfItsRoot() throws {
        let container = try group(
            "0::/",
            [
                "cpu.max": "150000 100000", "memory.max": "4000000", "memory.current": "3000000",
                "memory.stat": "anon 5\ninactive_file 500000\nactive_file 7",
            ])
        #expect(container.processors == 1.5 && container.memoryLimit == 4_000_000)
        #expect(container.availableMemory == 1_500_000)
        // Version 1 names the group as the host does
        let older = try group(
            "11:cpu,cpuacct:/docker/3f\n4:memory:/docker/3f",
            [
                "cpu/cpu.cfs_quota_us": "200000", "cpu/cpu.cfs_period_us": "50000",
                "memory/memory.limit_in_bytes": "4000000", "memory/memory.usage_in_bytes": "3000000",
                "memory/memory.stat": "inactive_file 1\ntotal_inactive_file 250000",
            ])
        #expect(older.processors == 4 && older.memoryLimit == 4_000_000 && older.availableMemory == 1_250_000)
    }

    @Test func everyGroupAboveLimitsToo() throws {
        let nested = try group(
            "0::/machine.slice/moru.service",
            [
                "machine.slice/moru.service/cpu.max": "800000 100000", "machine.slice/cpu.max": "250000 100000",
                "machine.slice/moru.service/memory.max": "max", "machine.slice/moru.service/memory.current": "10",
                "machine.slice/memory.max": "100", "machine.slice/memory.current": "120", "cpu.max": "max 100000",
            ])
        #expect(nested.processors == 2.5 && nested.memoryLimit == 100 && nested.availableMemory == 0)
    }

    @Test func whatIsNoLimitIsPassedOver() throws {
        for text in ["", "0 100000", "100000 0", "-1 100000", "100000", "a b", "1 2 3", "nan 100000"] {
            #expect(try group("0::/", ["cpu.max": text]).processors == nil, "\(text)")
        }
        #expect(try group("0::/", ["memory.max": "many", "memory.current": "1"]).memoryLimit == nil)
    }

    @Test func thisMachineOffersSomething() {
        #expect(1...ProcessInfo.processInfo.activeProcessorCount ~= Machine.processors)
        #expect(Machine.memory > 0 && Machine.memory <= ProcessInfo.processInfo.physicalMemory)
    }
}
