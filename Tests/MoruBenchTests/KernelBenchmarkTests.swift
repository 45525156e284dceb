import MoruBase
import MoruTensor
import Testing

@testable import MoruBench

/// The benchmark measures what it says; how fast that is, no test may ask.
@Suite struct KernelBenchmarkTests {
    @Test func ratesAreSharesOfTheCeiling() throws {
        var rows: [KernelBenchmark.Row] = []
        let benchmark = KernelBenchmark(only: "rope", threads: [1]) { rows.append($0) }
        try benchmark.run()
        let ceiling = try #require(benchmark.ceilings.first?.rates[.memory])
        #expect(rows.map(\.kernel) == ["rope"])
        for row in rows {
            #expect(row.rate > 0 && abs(row.share - row.rate / ceiling) < 1e-9)
        }
    }

    @Test func everyKernelHasAName() {
        let names = KernelBenchmark.families.map(\.kernel)
        #expect(Set(names).count == names.count)
        #expect(DType.allCases.allSatisfy { !$0.isFloatingPoint || names.contains("matvec \($0)") })
    }

    @Test func anUnknownKernelIsRefused() throws {
        let benchmark = KernelBenchmark(only: "winograd", threads: [1]) { _ in }
        let error = try #require(throws: MoruError.self) { try benchmark.run() }
        #expect(error.code == .unknownKernel)
        #expect(error.remedy?.contains("gemm bf16") == true)
    }

    #if DEBUG
        @Test func aDebugBuildIsRefused() throws {
            let error = try #require(throws: MoruError.self) { _ = try KernelBenchmark { _ in } }
            #expect(error.code == .debugBuild)
        }
    #endif
}
