import MoruBase
import Synchronization

/// A request on its way into the engine.
struct Submission: Sendable {
    let id: SequenceID
    let request: GenerationRequest
    let continuation: AsyncThrowingStream<GenerationEvent, any Error>.Continuation
    let cancellation: Cancellation
    let submitted: ContinuousClock.Instant
    /// What it counts for while it waits; see ``AdmissionControl``.
    let cost: Int
}

/// What other threads leave for an engine, until its next step takes it.
final class EngineInbox: Sendable {
    private struct State {
        var nextID: SequenceID = 0
        var submissions: [Submission] = []
        var restored: [RestoredPages] = []
        var isShutDown = false
        var admission: AdmissionControl
    }

    private let state: Mutex<State>

    init(_ admission: AdmissionControl) { state = Mutex(State(admission: admission)) }

    /// Leaves a request.
    ///
    /// - Throws: ``MoruError/Code/engineOverloaded``, or ``MoruError/Code/engineShutDown`` after ``shutDown()``.
    func add(
        _ request: GenerationRequest, _ continuation: AsyncThrowingStream<GenerationEvent, any Error>.Continuation,
        _ cancellation: Cancellation
    ) throws(MoruError) {
        try state.withLock { state throws(MoruError) in
            if state.isShutDown { throw Self.shutDownError }
            let cost = try state.admission.admit(request)
            state.submissions.append(
                Submission(
                    id: state.nextID, request: request, continuation: continuation, cancellation: cancellation,
                    submitted: .now, cost: cost))
            state.nextID += 1
        }
    }

    /// Leaves pages from the disk, for a request that waits for them.
    func add(_ restored: RestoredPages) { state.withLock { $0.restored.append(restored) } }

    /// Takes what has been left so far.
    func takeAll() -> (submissions: [Submission], restored: [RestoredPages]) {
        state.withLock { state in
            defer { (state.submissions, state.restored) = ([], []) }
            return (state.submissions, state.restored)
        }
    }

    /// Accepts no more requests, and returns those that nobody has taken.
    func shutDown() -> [Submission] {
        state.withLock { state in
            state.isShutDown = true
            defer { state.submissions = [] }
            return state.submissions
        }
    }

    /// Reads or changes what is known of the load.
    func withAdmission<Result, Failure>(
        _ body: (inout AdmissionControl) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try state.withLock { state throws(Failure) in try body(&state.admission) }
    }

    /// Adds what waits here to an engine's counters.
    func count(in statistics: inout EngineStatistics) {
        state.withLock { state in
            statistics.waiting += state.submissions.count
            statistics.refused = state.admission.refusedCount
            statistics.waitingTokens = state.admission.waitingTokens
        }
    }

    /// What requests to an engine that was shut down end with.
    static var shutDownError: MoruError {
        MoruError(.engineShutDown, "the engine has been shut down", remedy: "send the request to a running engine")
    }
}
