import CMoruKernels
import MoruBase
import MoruTensor

/// Times each compute kernel against what the machine can do: a roofline as a table.
///
/// The kernels are those of the process (`MORU_CPU` forces weaker ones), measured with one thread and with all.
public struct KernelBenchmark {
    /// One kernel at one shape with some threads.
    public struct Row: Sendable, Hashable {
        /// The kernel, such as `gemm bf16`.
        public var kernel: String
        /// The sizes, for people.
        public var shape: String
        /// The threads that shared the work.
        public var threads: Int
        /// What bounds it.
        public var bound: Bound
        /// What it reached, in the bound's unit.
        public var rate: Double
        /// The rate as a share of the ceiling.
        public var share: Double

        /// The row as an object.
        public var json: JSON {
            [
                "kernel": .string(kernel), "shape": .string(shape), "threads": .int(threads),
                "bound": .string(bound.rawValue), "unit": .string(bound.unit), "rate": .double(rate),
                "share": .double(share),
            ]
        }
    }

    /// The machine's ceilings, for each number of threads.
    public let ceilings: [Ceilings]
    private let only: String?
    private let report: (Row) -> Void
    let kernels = Runtime.shared.kernels

    /// Measures the ceilings.
    ///
    /// - Parameters:
    ///   - only: A part of the name of the kernels to measure; nil for all.
    ///   - report: Told of each row as it is measured.
    /// - Throws: ``MoruError/Code/debugBuild`` in a debug build, whose figures would say nothing.
    public init(only: String? = nil, report: @escaping (Row) -> Void) throws(MoruError) {
        #if DEBUG
            throw MoruError(
                .debugBuild, "this is a debug build, whose speed says nothing",
                remedy: "build with `swift build -c release`")
        #else
            self.init(
                only: only, threads: Array(Set([1, Runtime.shared.threads.threadCount])).sorted(), report: report)
        #endif
    }

    init(only: String?, threads: [Int], report: @escaping (Row) -> Void) {
        self.only = only?.lowercased()
        self.report = report
        ceilings = threads.map { Ceilings(threads: $0) }
    }

    /// Measures every kernel that was asked for.
    ///
    /// - Throws: ``MoruError/Code/unknownKernel`` when the name fits none.
    public func run() throws(MoruError) {
        let chosen = Self.families.filter { family in only.map { family.kernel.contains($0) } ?? true }
        guard !chosen.isEmpty else {
            throw MoruError(
                .unknownKernel, "no kernel's name contains '\(only ?? "")'",
                remedy: "the kernels are \(Self.families.map(\.kernel).joined(separator: ", "))")
        }
        for (kernel, measure) in chosen { measure(self, kernel) }
    }

    /// `amount`: operations or bytes of one run, which all threads share.
    func measure(_ kernel: String, _ shape: String, _ bound: Bound, amount: Double, _ work: Work) {
        for ceiling in ceilings {
            record(kernel, shape, bound, ceiling, amount / bestSeconds(threads: ceiling.threads, work) / 1e9)
        }
    }

    /// As ``measure(_:_:_:amount:_:)`` for what splits its own work over all threads.
    func measureWhole(_ kernel: String, _ shape: String, _ bound: Bound, amount: Double, _ work: () -> Void) {
        guard let ceiling = ceilings.last else { return }
        record(kernel, shape, bound, ceiling, amount / bestSeconds(work) / 1e9)
    }

    private func record(_ kernel: String, _ shape: String, _ bound: Bound, _ ceiling: Ceilings, _ rate: Double) {
        report(
            Row(
                kernel: kernel, shape: shape, threads: ceiling.threads, bound: bound, rate: rate,
                share: rate / ceiling.rate(bound)))
    }
}
