import CKernelCeiling
import CMoruKernels
import Foundation

typealias Kernels = UnsafePointer<moru_kernels>

/// The command line.
struct Options {
    var table: Kernels
    var only: String?

    struct Invalid: Error, CustomStringConvertible {
        let description: String
    }

    init(_ arguments: [String]) throws {
        var level = moru_cpu_best_level()
        var rest = arguments.dropFirst()
        while let name = rest.popFirst() {
            guard let value = rest.popFirst() else { throw Invalid(description: "\(name) wants a value") }
            switch name {
            case "--only": only = value
            case "--level":
                let levels = (0...MORU_CPU_AMX.rawValue).map { moru_cpu_level(rawValue: $0) }
                guard let found = levels.first(where: { String(cString: moru_cpu_level_name($0)) == value }) else {
                    throw Invalid(description: "no level is named \(value)")
                }
                level = found
            default: throw Invalid(description: "unknown option \(name)")
            }
        }
        guard let table = moru_kernels_for(level) else { throw Invalid(description: "this CPU cannot run that level") }
        self.table = table
    }
}

/// Memory for a benchmark, filled with small numbers and never freed.
func floats(_ count: Int) -> UnsafeMutablePointer<Float> {
    let memory = UnsafeMutableRawPointer.allocate(byteCount: max(64, count * 4), alignment: 64)
    let values = memory.bindMemory(to: Float.self, capacity: count)
    var state: UInt32 = 1
    for i in 0..<count {
        state = state &* 1_664_525 &+ 1_013_904_223
        values[i] = Float(state >> 8) / 16_777_216 - 0.5
    }
    return values
}

func scratch(_ bytes: Int) -> UnsafeMutableRawPointer { .allocate(byteCount: max(64, bytes), alignment: 64) }

/// A piece of work for thread `thread` of `threads`.
typealias Work = (_ thread: Int, _ threads: Int) -> Void

/// A function and the context of one run, handed to threads that are joined before it goes away.
struct Job: @unchecked Sendable {
    let work: Work
    let repeats: Int
    let threads: Int
}

/// Best seconds for one run of `work` over `threads` threads; the start of a thread is spread over many runs.
func bestSeconds(threads: Int, _ work: @escaping Work) -> Double {
    func run(_ repeats: Int) -> Double {
        let job = Job(work: work, repeats: repeats, threads: threads)
        let start = DispatchTime.now().uptimeNanoseconds
        if threads == 1 {
            for _ in 0..<repeats { job.work(0, 1) }
        } else {
            DispatchQueue.concurrentPerform(iterations: threads) { thread in
                for _ in 0..<job.repeats { job.work(thread, job.threads) }
            }
        }
        return Double(DispatchTime.now().uptimeNanoseconds - start) / 1e9 / Double(repeats)
    }
    let first = max(run(1), 1e-8)
    let repeats = max(1, Int(0.01 / first))
    return (0..<8).map { _ in run(repeats) }.min() ?? first
}

/// The part of `count` that belongs to a thread, in multiples of `unit`.
func share(_ count: Int, _ thread: Int, _ threads: Int, unit: Int = 1) -> (begin: Int, end: Int) {
    let step = (count / threads + unit - 1) / unit * unit
    return (min(count, thread * step), thread == threads - 1 ? count : min(count, (thread + 1) * step))
}

/// What the machine can do with vectors of this level's width.
struct Ceiling {
    var gflops: Double
    var bandwidth: Double

    /// The rate of independent multiply-adds in registers, and the bandwidth of reading 256 MB.
    static func measure(_ table: Kernels, threads: Int) -> Ceiling {
        let level = table.pointee.level
        let bits: Int32 = level.rawValue >= MORU_CPU_AVX512.rawValue ? 512 : level == MORU_CPU_AVX2 ? 256 : 128
        let steps = 100_000
        var sink: Float = 0
        let flops = kernel_ceiling_multiply_add(bits, 1, &sink) * Double(steps * threads)
        let seconds = bestSeconds(threads: threads) { _, _ in
            var sink: Float = 0
            _ = kernel_ceiling_multiply_add(bits, steps, &sink)
        }
        let bytes = 256 << 20
        let memory = UnsafeMutableRawPointer.allocate(byteCount: bytes, alignment: 64)
        memory.initializeMemory(as: UInt8.self, repeating: 1, count: bytes)
        let reading = bestSeconds(threads: threads) { thread, threads in
            let (begin, end) = share(bytes, thread, threads, unit: 256)
            var sink: Float = 0
            kernel_ceiling_read(bits, memory + begin, end - begin, &sink)
        }
        memory.deallocate()
        return Ceiling(gflops: flops / seconds / 1e9, bandwidth: Double(bytes) / reading / 1e9)
    }
}

/// Prints the table, one line for each kernel and shape.
struct Report {
    let threadCounts: [Int]
    let ceilings: [Ceiling]
    let only: String?

    enum Bound { case arithmetic, memory }

    func pad(_ text: String, _ width: Int) -> String {
        text + String(repeating: " ", count: max(0, width - text.count))
    }

    func header() {
        let columns = threadCounts.map { pad("\($0) thread\($0 > 1 ? "s" : "")", 26) }.joined()
        print(pad("kernel", 22) + pad("shape", 42) + columns)
    }

    func wants(_ kernel: String) -> Bool { only.map { kernel.contains($0) } ?? true }

    /// `amount`: floating-point operations or bytes in one run.
    func measure(_ kernel: String, _ shape: String, _ bound: Bound, amount: Double, _ work: @escaping Work) {
        guard wants(kernel) else { return }
        var line = pad(kernel, 22) + pad(shape, 42)
        for (threads, ceiling) in zip(threadCounts, ceilings) {
            let rate = amount / bestSeconds(threads: threads, work) / 1e9
            let most = bound == .arithmetic ? ceiling.gflops : ceiling.bandwidth
            let unit = bound == .arithmetic ? "GFLOP/s" : "GB/s"
            line += pad(String(format: "%.1f %@ (%.0f %%)", rate, unit as NSString, 100 * rate / most), 26)
        }
        print(line)
    }
}
