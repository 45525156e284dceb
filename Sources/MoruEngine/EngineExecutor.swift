import Foundation

/// Runs an actor's jobs one after the other on a thread of its own, so that a long step of a model never occupies one of
/// the threads that all other tasks of the process share.
package final class EngineExecutor: SerialExecutor {
    private let queue = JobQueue()

    /// Starts the thread.
    package init(name: String) {
        let queue = self.queue
        let thread = Thread { queue.run() }
        thread.name = name
        thread.stackSize = 4 << 20
        thread.start()
    }

    deinit { queue.stop() }

    package func enqueue(_ job: consuming ExecutorJob) { queue.append(UnownedJob(job), executor: self) }

    package func asUnownedSerialExecutor() -> UnownedSerialExecutor { UnownedSerialExecutor(ordinary: self) }
}

/// The jobs that wait. Each holds its executor, which thus outlives them; the thread holds only the queue, so that it
/// ends when the executor does. Unchecked: the condition's lock guards the rest.
private final class JobQueue: @unchecked Sendable {
    private let condition = NSCondition()
    private var jobs: [(job: UnownedJob, executor: EngineExecutor)] = []
    private var isStopped = false

    func append(_ job: UnownedJob, executor: EngineExecutor) {
        condition.lock()
        jobs.append((job, executor))
        condition.signal()
        condition.unlock()
    }

    func stop() {
        condition.lock()
        isStopped = true
        condition.signal()
        condition.unlock()
    }

    func run() {
        while true {
            condition.lock()
            while jobs.isEmpty && !isStopped { condition.wait() }
            let batch = jobs
            jobs.removeAll(keepingCapacity: true)
            let ends = isStopped && batch.isEmpty
            condition.unlock()
            if ends { return }
            for (job, executor) in batch { job.runSynchronously(on: executor.asUnownedSerialExecutor()) }
        }
    }
}
