import ArgumentParser
import MoruBase
import MoruBench
import MoruTensor

/// `moru bench`: how fast this machine and this build are.
struct Bench: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Measure how fast Moru is on this machine.",
        discussion: """
            Examples:
              moru bench kernels
              moru bench kernels --only gemm --json
            """,
        subcommands: [BenchKernels.self])
}

/// `moru bench kernels`: each kernel against the machine's ceilings.
struct BenchKernels: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "kernels",
        abstract: "Compare the speed of each compute kernel with the limits of this machine.",
        discussion: """
            First measures the limits of the machine (multiply-adds in registers,
            memory reads), then the speed of each kernel as a share of the limit
            that applies to it. MORU_CPU selects kernels of a lower level. Takes
            about a minute; close other programs first.

            Examples:
              moru bench kernels
              moru bench kernels --only matvec
              MORU_CPU=avx2 moru bench kernels --json > avx2.json
            """)

    @Option(help: "Only kernels whose name contains this text.")
    var only: String?

    @OptionGroup var output: OutputOptions

    func run() throws {
        var rows: [KernelBenchmark.Row] = []
        let benchmark = try KernelBenchmark(only: only) { row in
            rows.append(row)
            if !output.json { Terminal.result(line(row)) }
        }
        if !output.json { header(benchmark.ceilings) }
        try benchmark.run()
        guard output.json else { return }
        let result: JSON = [
            "kernels": .string(Runtime.shared.kernelName), "features": .string(Runtime.cpuFeatures),
            "ceilings": .array(benchmark.ceilings.map(\.json)), "rows": .array(rows.map(\.json)),
        ]
        Terminal.result(result.text(pretty: true))
    }

    private func header(_ ceilings: [Ceilings]) {
        Terminal.result("kernels   \(Runtime.shared.kernelName)\nfeatures  \(Runtime.cpuFeatures)")
        for ceiling in ceilings {
            let rates = Bound.allCases.compactMap { bound in
                ceiling.rates[bound].map { "\(Format.fixed($0, bound == .memory ? 1 : 0)) \(bound.rawValue)" }
            }
            Terminal.result("ceilings  \(threads(ceiling.threads)): \(rates.joined(separator: ", "))")
        }
        Terminal.result("")
        Terminal.result(
            padded("kernel", 20) + padded("shape", 38) + padded("threads", 9) + padded("rate", 18) + "of the ceiling")
    }

    private func line(_ row: KernelBenchmark.Row) -> String {
        let rate = "\(Format.fixed(row.rate, 1)) \(row.bound.unit)"
        let share = "\(Format.fixed(row.share * 100, 0)) % of \(row.bound.rawValue)"
        return padded(row.kernel, 20) + padded(row.shape, 38) + padded("\(row.threads)", 9) + padded(rate, 18) + share
    }

    private func threads(_ count: Int) -> String { "\(count) thread\(count == 1 ? "" : "s")" }

    private func padded(_ text: String, _ width: Int) -> String {
        text + String(repeating: " ", count: max(1, width - text.count))
    }
}
