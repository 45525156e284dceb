import CMoruKernels
import Foundation
import Testing

@Suite("Choice of instruction set")
struct DispatchTests {
    @Test("The best level has a table, and no level above it has one")
    func best() {
        let best = moru_cpu_best_level()
        #expect(moru_kernels_for(best) != nil)
        #expect(moru_kernels_for(MORU_CPU_SCALAR) != nil)
        for raw in best.rawValue + 1..<MORU_CPU_AMX.rawValue + 1 {
            #expect(moru_kernels_for(moru_cpu_level(rawValue: raw)) == nil)
        }
        for level in Level.all { #expect(!level.name.isEmpty) }
    }

    @Test("Every entry of every table is filled", arguments: Level.all)
    func complete(_ level: Level) {
        // The structure is the level (padded to a word) and pointers alone.
        let words = MemoryLayout<moru_kernels>.size / MemoryLayout<UInt>.size
        let table = UnsafeRawPointer(level.table)
        for word in 1..<words {
            #expect(table.load(fromByteOffset: word * MemoryLayout<UInt>.size, as: UInt.self) != 0, "entry \(word)")
        }
    }

    @Test(
        "The levels found agree with what the operating system reports",
        .enabled(if: FileManager.default.isReadableFile(atPath: "/proc/cpuinfo")))
    func operatingSystem() throws {
        let text = try String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8)
        let line = text.split(separator: "\n").first { $0.hasPrefix("flags") } ?? ""
        let flags = Set(line.split(separator: " ").map(String.init))
        guard !flags.isEmpty else { return }
        #expect((moru_kernels_for(MORU_CPU_AVX2) != nil) == flags.isSuperset(of: ["avx2", "fma", "f16c"]))
        #expect(
            (moru_kernels_for(MORU_CPU_AVX2_VNNI) != nil)
                == flags.isSuperset(of: ["avx2", "fma", "f16c", "avx_vnni"]))
        let wide: Set = ["avx512f", "avx512bw", "avx512dq", "avx512vl"]
        #expect((moru_kernels_for(MORU_CPU_AVX512) != nil) == flags.isSuperset(of: wide))
        #expect(
            (moru_kernels_for(MORU_CPU_AVX512_BF16) != nil)
                == flags.isSuperset(of: wide.union(["avx512_vnni", "avx512_bf16"])))
        if !flags.contains("amx_bf16") { #expect(moru_kernels_for(MORU_CPU_AMX) == nil) }
        let reported = Set((0..<20).compactMap { moru_cpu_feature($0).map { String(cString: $0) } })
        let known = wide.union(["avx2", "fma", "f16c", "avx_vnni", "avx512_vnni", "avx512_bf16"])
        #expect(reported.intersection(known) == flags.intersection(known))
        #expect(reported.isSubset(of: flags))
    }
}

@Suite struct TrialTests {
    @Test func everyLevelOfThisMachineWorks() {
        for raw in MORU_CPU_SCALAR.rawValue...MORU_CPU_AMX.rawValue {
            let level = moru_cpu_level(rawValue: raw)
            guard moru_kernels_for(level) != nil else { continue }
            #expect(moru_cpu_level_works(level), "\(String(cString: moru_cpu_level_name(level)))")
        }
    }

    @Test func aLevelThatThisMachineLacksDoesNot() {
        for level in [MORU_CPU_NEON, MORU_CPU_AMX] where moru_kernels_for(level) == nil {
            #expect(!moru_cpu_level_works(level))
        }
    }
}
