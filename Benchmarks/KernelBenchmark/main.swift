// Times the compute kernels against what the machine can do: the measured rate of fused multiply-adds and the measured
// bandwidth of reading memory. Run in release mode:
//
//     swift run -c release KernelBenchmark [--level scalar|avx2|avx512|avx512-bf16|amx|neon] [--only NAME]
//
// Each figure is the best of several runs; `%` is of the ceiling that bounds the kernel (arithmetic for products of many
// rows and attention, memory for products of few rows and elementwise work).
import CMoruKernels
import Foundation

#if DEBUG
    FileHandle.standardError.write(
        Data("error: build the benchmark with `-c release`; a debug build says nothing.\n".utf8))
    exit(1)
#else

    let options = try Options(CommandLine.arguments)
    let table = options.table
    let threadCounts = [1, 2]

    print("kernels   \(String(cString: table.pointee.name))")
    print("features  \(String(cString: moru_cpu_features()))")
    let ceilings = threadCounts.map { Ceiling.measure(table, threads: $0) }
    for (threads, ceiling) in zip(threadCounts, ceilings) {
        let gflops = String(format: "%.0f", ceiling.gflops), bandwidth = String(format: "%.1f", ceiling.bandwidth)
        print("ceiling   \(threads) thread\(threads > 1 ? "s" : "")  \(gflops) GFLOP/s  \(bandwidth) GB/s read")
    }
    print("")

    let report = Report(threadCounts: threadCounts, ceilings: ceilings, only: options.only)
    report.header()
    benchmarkProducts(table, report)
    benchmarkFewRows(table, report)
    benchmarkAttention(table, report)
    benchmarkElementwise(table, report)
#endif
