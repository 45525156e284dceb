import CKernelCeiling
import CMoruKernels
import MoruBase
import MoruTensor

/// What bounds a kernel.
public enum Bound: String, Sendable, Hashable, CaseIterable {
    /// Multiply-adds of f32, 10^9 operations a second.
    case f32 = "GFLOP/s f32"
    /// Products of bf16 pairs summed in f32, 10^9 operations a second.
    case bf16 = "GFLOP/s bf16"
    /// Products of bytes summed in 32 bits (16 without VNNI), 10^9 operations a second.
    case int8 = "GOP/s int8"
    /// Reading memory that no cache holds, 10^9 bytes a second.
    case memory = "GB/s read"

    /// The unit of rates under this bound.
    public var unit: String { self == .memory ? "GB/s" : self == .int8 ? "GOP/s" : "GFLOP/s" }
}

/// What the machine can do at best, measured by loops that do nothing else, with the vectors that the kernels use.
public struct Ceilings: Sendable, Hashable {
    /// The threads that shared the work.
    public let threads: Int
    /// The rate of each bound; a bound is missing where the CPU has no such instruction.
    public let rates: [Bound: Double]

    /// Measures, which takes about a second.
    init(threads: Int) {
        self.threads = threads
        let level = Runtime.shared.kernels.level
        let isAVX512 = level.rawValue >= MORU_CPU_AVX512.rawValue
        let bits: Int32 = isAVX512 ? 512 : level.rawValue >= MORU_CPU_AVX2.rawValue ? 256 : 128
        var rates: [Bound: Double] = [:]
        let steps = 50_000
        func arithmetic(_ loop: (Int, UnsafeMutablePointer<Float>) -> Double) -> Double? {
            var sink: Float = 0
            let operations = loop(1, &sink) * Double(steps * threads)
            guard operations > 0 else { return nil }
            let seconds = bestSeconds(threads: threads) { _, _ in
                var sink: Float = 0
                _ = loop(steps, &sink)
            }
            return operations / seconds / 1e9
        }
        rates[.f32] = arithmetic { kernel_ceiling_multiply_add(bits, $0, $1) }
        if level == MORU_CPU_AMX {
            rates[.bf16] = arithmetic { kernel_ceiling_tiles(false, $0, $1) }
            rates[.int8] = arithmetic { kernel_ceiling_tiles(true, $0, $1) }
        } else {
            if level == MORU_CPU_AVX512_BF16 { rates[.bf16] = arithmetic { kernel_ceiling_bf16($0, $1) } }
            let hasVNNI = moru_byte_kernels_for(level).pointee.is_fast
            // Without it AVX-512 takes the products of AVX2
            rates[.int8] = arithmetic { kernel_ceiling_int8(hasVNNI ? bits : min(bits, 256), hasVNNI, $0, $1) }
        }
        let memory = Scratch(bytes: 256 << 20)
        rates[.memory] =
            Double(memory.bytes)
            / bestSeconds(threads: threads) { thread, threads in
                let (begin, end) = share(memory.bytes, thread, threads, unit: 256)
                var sink: Float = 0
                kernel_ceiling_read(bits, memory.base + begin, end - begin, &sink)
            } / 1e9
        self.rates = rates
    }

    /// The rate that bounds a kernel; bf16 and int8 fall back to f32 where the CPU has no such instruction.
    func rate(_ bound: Bound) -> Double { rates[bound] ?? rates[.f32] ?? 0 }

    /// The ceilings as an object, a key for each bound.
    public var json: JSON {
        var object = JSONObject([("threads", .int(threads))])
        for bound in Bound.allCases { object[bound.rawValue] = rates[bound].map { .double($0) } }
        return .object(object)
    }
}
