import CMoruKernels
import Foundation
import MoruBase

/// How exactly matrix products are computed.
public enum Precision: String, Sendable, Hashable, Codable {
    /// Inputs may be rounded to bf16 where that is faster on this CPU; sums are f32. Where integer products are faster
    /// (AVX2, or VNNI without AMX), activations that meet quantised weights are rounded to 8 bits, between the minimum
    /// and the maximum of each block of 32, in prompts and in the forward pass of training over weights that stay
    /// quantised: an adapter is then trained with the products that serve it. Gradients, and the evaluation of whole
    /// sequences, are never rounded to 8 bits.
    case automatic = "auto"
    /// Like `auto`, but without rounding to 8 bits, except for the few rows of a decoding step.
    case bf16
    /// No rounding to bf16. With quantised weights, the few rows of a decoding step are still rounded to 8 bits in
    /// blocks of 32.
    case f32
    /// Like `auto`, but with quantised weights any number of rows is rounded to 8 bits in blocks of 32: prompts are
    /// faster, at a few tenths of a per cent of perplexity, and a row's result does not depend on the number of rows.
    /// Encoders use 8-bit products in groups of 128 for inference, where the CPU has an instruction for them.
    case int8
}

/// What this process computes with: the kernels selected for the CPU, the threads and the precision.
///
/// `MORU_CPU` forces a weaker instruction set (`scalar`, `avx2`, `avx2-vnni`, `avx512`...), `MORU_THREADS` the number of
/// threads, and `MORU_PRECISION` a ``Precision``. Unchecked: nothing changes after the initializer.
public final class Runtime: @unchecked Sendable {
    /// The most rows for which a product with a weight is bound by reading the weight, and is computed row by row.
    ///
    /// More rows are computed by another kernel, which rounds differently: code that promises results independent of
    /// the rest of the batch must stay on one side of this limit.
    package static let fewRows = 8

    /// The runtime of the process. A setting that makes no sense is reported by ``problem`` and otherwise ignored.
    public static let shared = Runtime(environment: ProcessInfo.processInfo.environment)

    /// The kernel table.
    package let kernels: moru_kernels
    /// The kernels of single rows' attention, selected once too: looking them up queries the CPU.
    let rowAttention: moru_row_attention
    /// The kernels of low-rank updates.
    let lowRank: moru_low_rank_kernels
    /// The threads.
    public let threads: ThreadPool
    /// The precision of matrix products where ``withPrecision(_:_:)`` says nothing else.
    public let defaultPrecision: Precision
    /// Why the kernels are not the best that the CPU reports; nil where they are.
    public let kernelSetback: String?
    /// What was wrong with the environment's settings, if anything: the CLI reports it before it starts.
    public let problem: MoruError?
    /// Where the operations run.
    public let backend: any Backend = CPUBackend()
    /// Whether integer products with quantised weights are faster than those of bf16 or f32: on AVX2, and with VNNI
    /// except on AMX, whose bf16 tiles are faster than both.
    private let hasFastBytes: Bool

    init(environment: [String: String]) {
        var problem: MoruError?
        let best = moru_cpu_best_level()
        var chosen = best
        var setback: String?
        if let wanted = environment["MORU_CPU"], !wanted.isEmpty {
            let names = Self.availableLevels.map { String(cString: moru_cpu_level_name($0)) }
            if let position = names.firstIndex(of: wanted.lowercased()) {
                chosen = Self.availableLevels[position]
                if chosen != best { setback = "MORU_CPU asks for \(wanted.lowercased())" }
            } else {
                problem = MoruError(
                    .runtimeSetting, "MORU_CPU=\(wanted) is not an instruction set of this machine",
                    remedy: "use one of \(names.joined(separator: ", ")), or leave it unset")
            }
        }
        if chosen == MORU_CPU_AMX, !moru_cpu_level_works(chosen) {
            chosen = MORU_CPU_AVX512_BF16
            setback = "this CPU reports AMX, but a trial of it failed"
        }
        kernels = moru_kernels_for(chosen)?.pointee ?? moru_kernels_for(MORU_CPU_SCALAR).pointee
        rowAttention = moru_row_attention_for(kernels.level).pointee
        lowRank = moru_low_rank_kernels_for(kernels.level).pointee
        hasFastBytes =
            chosen == MORU_CPU_AVX2 || chosen == MORU_CPU_AVX2_VNNI
            || chosen != MORU_CPU_AMX && moru_byte_kernels_for(chosen).pointee.is_fast
        // More threads than processors would be stopped in turns, while the others wait for them
        var threadCount = Machine.processors
        if let wanted = environment["MORU_THREADS"], !wanted.isEmpty {
            if let count = Int(wanted), 1...1024 ~= count {
                threadCount = count
            } else {
                problem = MoruError(
                    .runtimeSetting, "MORU_THREADS=\(wanted) is not a number of threads", remedy: "use 1 to 1024")
            }
        }
        threads = ThreadPool(threadCount: threadCount)
        switch environment["MORU_PRECISION"] {
        case nil, "", "auto": defaultPrecision = .automatic
        case "bf16": defaultPrecision = .bf16
        case "f32": defaultPrecision = .f32
        case "int8": defaultPrecision = .int8
        case let wanted?:
            defaultPrecision = .automatic
            problem = MoruError(
                .runtimeSetting, "MORU_PRECISION=\(wanted) is unknown", remedy: "use auto, bf16, f32 or int8")
        }
        self.problem = problem
        kernelSetback = setback
    }

    /// The levels that this machine can run, weakest first.
    package static var availableLevels: [moru_cpu_level] {
        [
            MORU_CPU_SCALAR, MORU_CPU_NEON, MORU_CPU_AVX2, MORU_CPU_AVX2_VNNI, MORU_CPU_AVX512, MORU_CPU_AVX512_BF16,
            MORU_CPU_AMX,
        ].filter { moru_kernels_for($0) != nil }
    }

    /// The name of the instruction set in use, as `MORU_CPU` takes it.
    public var kernelName: String { String(cString: moru_cpu_level_name(kernels.level)) }
    /// The instruction sets that this machine can run, weakest first.
    public static var availableKernels: [String] { availableLevels.map { String(cString: moru_cpu_level_name($0)) } }
    /// The CPU's instruction sets that kernels use, separated by commas and named as in `/proc/cpuinfo`.
    public static var cpuFeatures: String {
        let names = sequence(state: 0) { index in
            defer { index += 1 }
            return moru_cpu_feature(index).map { String(cString: $0) }
        }
        return names.joined(separator: ",")
    }

    @TaskLocal private static var taskPrecision: Precision?

    /// The precision of matrix products in this task.
    public var precision: Precision { Self.taskPrecision ?? defaultPrecision }

    /// Whether products may round what they multiply to bf16.
    var allowsBF16: Bool { precision != .f32 }

    /// How training keeps activations between products: in bf16 where the products round them to it anyway.
    ///
    /// The residual stream, sums, losses, weights and their gradients are f32 all the same.
    public var activationType: DType {
        allowsBF16 && kernels.level.rawValue >= MORU_CPU_AVX512_BF16.rawValue ? .bf16 : .f32
    }

    /// Runs `body` with matrix products in the given precision.
    public static func withPrecision<Result>(
        _ precision: Precision, _ body: () throws -> Result
    ) rethrows -> Result {
        try $taskPrecision.withValue(precision, operation: body)
    }

    @TaskLocal private static var taskProductsGoAsFewRows: Bool?

    /// Whether products with weights go the way of few rows, whatever the number of theirs; nil where that decides.
    private var productsGoAsFewRows: Bool? { Self.taskProductsGoAsFewRows }

    /// Whether products of so many rows with weights go the way of few rows.
    package func goAsFewRows(_ rows: Int) -> Bool { productsGoAsFewRows ?? (rows <= Self.fewRows) }

    /// Runs `body` with all products with weights going the way of few rows (see ``fewRows``), or none.
    ///
    /// For parts of a batch, whose numbers of rows depend on what else is in it: such as the rows that an expert gets.
    package static func withProducts<Result>(
        asFewRows isFew: Bool, _ body: () throws -> Result
    ) rethrows -> Result {
        try $taskProductsGoAsFewRows.withValue(isFew, operation: body)
    }

    @TaskLocal private static var taskAllowsByteProducts = false

    /// Whether products of many rows with quantised weights are of bytes, closely rounded, where that is faster.
    var takesBytesForManyRows: Bool { precision == .automatic && Self.taskAllowsByteProducts && hasFastBytes }

    /// Runs `body` with what quantised weights are multiplied with, but in gradients, rounded to 8 bits between the least
    /// and the largest of blocks of 32, or not; see ``Precision/automatic``.
    package static func withByteProducts<Result>(
        _ isAllowed: Bool = true, _ body: () throws -> Result
    ) rethrows -> Result {
        try $taskAllowsByteProducts.withValue(isAllowed, operation: body)
    }

    @TaskLocal private static var taskRecomputesActivations = false

    /// Whether models keep only what goes from block to block, and compute the rest again for the backward pass: less
    /// memory, for about a third more time.
    public var recomputesActivations: Bool { Self.taskRecomputesActivations }

    /// Runs `body` with or without the activations of blocks being computed again for the backward pass.
    public static func withRecomputation<Result>(
        _ recomputes: Bool = true, _ body: () throws -> Result
    ) rethrows -> Result {
        try $taskRecomputesActivations.withValue(recomputes, operation: body)
    }

    /// Splits a tensor's elements into whole blocks over the threads.
    func forEachBlockRange(
        of tensor: Tensor, _ body: (_ offset: (bytes: Int, elements: Int), _ elements: Int) -> Void
    ) {
        let dtype = tensor.dtype
        threads.forRanges(tensor.count / dtype.blockElements, minimum: 1 << 14) { blocks in
            let offset = (
                bytes: blocks.lowerBound * dtype.blockBytes, elements: blocks.lowerBound * dtype.blockElements
            )
            body(offset, blocks.count * dtype.blockElements)
        }
    }
}
