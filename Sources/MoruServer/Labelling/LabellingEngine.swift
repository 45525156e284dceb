import MoruBase
import MoruEngine
import MoruModels
import MoruText
import Synchronization

/// Runs models that classify or embed, for many callers at once.
///
/// Waiting texts are computed together: one batch at a time, up to a number of tokens, on a thread of the engine's own.
/// A text's result is the same, to the last bit, whatever else is in its batch.
actor LabellingEngine {
    /// Identifies a computation: equal ones give the same results for the same tokens. Callers keep the model alive.
    struct Model: Hashable, Sendable {
        let network: ObjectIdentifier
        let adapter: ObjectIdentifier?
        let isClassifier: Bool
        /// Tokens at the beginning of each text that an embedder does not pool.
        let skippedTokens: Int
    }

    /// Computes a row of numbers for each text of a batch.
    typealias Computation = @Sendable ([TokenSequence]) -> [[Float]]

    /// The maximum number of tokens per batch, unless a single text is longer.
    static let batchTokens = 2048

    private struct Job {
        let id: Int
        let model: Model
        let texts: [TokenSequence]
        let compute: Computation
        let continuation: CheckedContinuation<[[Float]], any Error>
    }

    private struct Inbox {
        var nextID = 0
        var jobs: [Job] = []
        var cancelled: [Int] = []
        var admission: AdmissionControl
    }

    private nonisolated let executor = EngineExecutor(name: "moru-labels")
    private nonisolated let inbox: Mutex<Inbox>
    private var queue = LabellingQueue<Model>()
    private var jobs: [Int: Job] = [:]
    private var rows: [Int: [[Float]]] = [:]
    private var isDriving = false

    /// Makes an engine, which waits for texts.
    ///
    /// - Parameters:
    ///   - maximumTokens: The maximum number of waiting tokens; nil for no limit.
    ///   - maximumSeconds: The maximum estimated wait in seconds; nil for no limit.
    init(maximumTokens: Int?, maximumSeconds: Double?) {
        inbox = Mutex(
            Inbox(admission: AdmissionControl(maximumTokens: maximumTokens, maximumSeconds: maximumSeconds)))
    }

    /// The engine's own thread.
    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    /// The number of waiting tokens.
    nonisolated var waitingTokens: Int { inbox.withLock { $0.admission.waitingTokens } }

    /// Computes the results of texts. To give up, cancel the task.
    ///
    /// - Parameter texts: The tokens of each, none empty.
    /// - Returns: A row of numbers for each text.
    /// - Throws: ``MoruError/Code/engineOverloaded``, ``MoruError/Code/labelsNotFinite``, or `CancellationError`.
    nonisolated func rows(
        of texts: [TokenSequence], with model: Model, _ compute: @escaping Computation
    ) async throws -> [[Float]] {
        guard !texts.isEmpty else { return [] }
        let id = inbox.withLock { inbox in
            inbox.nextID += 1
            return inbox.nextID
        }
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                let job = Job(id: id, model: model, texts: texts, compute: compute, continuation: continuation)
                do {
                    try inbox.withLock { inbox in
                        // A later cancellation is recorded after the job, and so finds it
                        try Task.checkCancellation()
                        _ = try inbox.admission.admit(promptTokens: texts.tokenCount)
                        inbox.jobs.append(job)
                    }
                    wake()
                } catch {
                    continuation.resume(throwing: error)
                }
            }
        } onCancel: {
            inbox.withLock { $0.cancelled.append(id) }
            wake()
        }
    }

    private nonisolated func wake() { Task { await self.drive() } }

    private func drive() async {
        guard !isDriving else { return }
        isDriving = true
        while step() { await Task.yield() }
        isDriving = false
    }

    /// Computes the next batch; false when nothing is waiting.
    private func step() -> Bool {
        let (arrived, cancelled) = inbox.withLock { inbox in
            defer { (inbox.jobs, inbox.cancelled) = ([], []) }
            return (inbox.jobs, inbox.cancelled)
        }
        for job in arrived {
            jobs[job.id] = job
            rows[job.id] = []
            queue.add(job.id, model: job.model, costs: job.texts.map(\.ids.count))
        }
        for id in cancelled { end(id) { $0.resume(throwing: CancellationError()) } }
        let shares = queue.nextBatch(limit: Self.batchTokens)
        guard let first = shares.first, let compute = jobs[first.request]?.compute else { return false }
        let batch = shares.flatMap { share in jobs[share.request]?.texts[share.texts] ?? [] }
        let begin = ContinuousClock.now
        let results = compute(batch)
        let tokens = batch.tokenCount
        inbox.withLock { $0.admission.note(tokens: tokens, seconds: (ContinuousClock.now - begin) / .seconds(1)) }
        var place = 0
        for share in shares {
            deliver(results[place..<place + share.texts.count], to: share)
            place += share.texts.count
        }
        return true
    }

    private func deliver(_ results: ArraySlice<[Float]>, to share: LabellingQueue<Model>.Share) {
        guard let job = jobs[share.request] else { return }
        guard results.allSatisfy({ $0.allSatisfy(\.isFinite) }) else {
            let error = MoruError(
                .labelsNotFinite, "the model's output for a text is not finite", remedy: "use another copy of the model"
            )
            return end(job.id) { $0.resume(throwing: error) }
        }
        let tokens = job.texts[share.texts].tokenCount
        inbox.withLock { $0.admission.advance(tokens) }
        rows[job.id, default: []] += results
        guard share.texts.upperBound == job.texts.count, let whole = rows[job.id] else { return }
        end(job.id) { $0.resume(returning: whole) }
    }

    private func end(_ id: Int, _ body: (CheckedContinuation<[[Float]], any Error>) -> Void) {
        guard let job = jobs.removeValue(forKey: id) else { return }
        let done = rows.removeValue(forKey: id)?.count ?? 0
        queue.remove(id)
        inbox.withLock { $0.admission.leave(job.texts[done...].tokenCount) }
        body(job.continuation)
    }
}
