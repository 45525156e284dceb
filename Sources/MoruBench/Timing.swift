import Dispatch
import MoruTensor

/// A piece of work for thread `thread` of `threads`.
typealias Work = (_ thread: Int, _ threads: Int) -> Void

/// The best of several short runs, each long enough that the clock and the hand-off to the threads do not count.
///
/// The best, not the median: a ceiling and a kernel are both asked what they can do, and on a shared machine everything
/// else that runs only ever makes them slower.
///
/// - Returns: Seconds of one call of `body`.
func bestSeconds(_ body: () -> Void) -> Double {
    func run(_ repeats: Int) -> Double {
        let start = DispatchTime.now().uptimeNanoseconds
        for _ in 0..<repeats { body() }
        return Double(DispatchTime.now().uptimeNanoseconds - start) / 1e9 / Double(repeats)
    }
    let first = max(run(1), 1e-8)
    let repeats = max(1, Int(0.01 / first))
    return (0..<8).map { _ in run(repeats) }.min() ?? first
}

/// Best seconds of `work` shared by some threads of the process's pool.
func bestSeconds(threads: Int, _ work: Work) -> Double {
    bestSeconds { Runtime.shared.threads.run(threads) { work($0, threads) } }
}

/// The part of `count` that belongs to a thread, in multiples of `unit`.
func share(_ count: Int, _ thread: Int, _ threads: Int, unit: Int = 1) -> (begin: Int, end: Int) {
    let step = (count / threads + unit - 1) / unit * unit
    return (min(count, thread * step), thread == threads - 1 ? count : min(count, (thread + 1) * step))
}
