import Dispatch
import Foundation
import Synchronization

/// Turns Ctrl-C (and SIGTERM) into a request to stop at the next good moment. The second request ends the process,
/// unless requests are repeatable.
final class Interruption: Sendable {
    private let state: State
    // Written once by init; dispatch sources may be used from any thread, but do not say so.
    nonisolated(unsafe) private let sources: [any DispatchSourceSignal]

    private final class State: Sendable {
        let isRequested = Atomic<Bool>(false)
    }

    /// Whether a stop was requested.
    var isRequested: Bool { state.isRequested.load(ordering: .relaxed) }

    /// Takes over the signals.
    ///
    /// - Parameters:
    ///   - isRepeatable: Whether every Ctrl-C is a request of its own, so that none ends the process.
    ///   - onRequest: Called on another thread at each request.
    init(isRepeatable: Bool = false, onRequest: @escaping @Sendable () -> Void = {}) {
        let state = State()
        self.state = state
        sources = [SIGINT, SIGTERM].map { number in
            signal(number, SIG_IGN)
            let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
            source.setEventHandler {
                let isSecond = state.isRequested.exchange(true, ordering: .sequentiallyConsistent)
                if number == SIGTERM && isRepeatable || isSecond && !isRepeatable { exit(130) }
                onRequest()
            }
            source.resume()
            return source
        }
    }

    deinit {
        for source in sources { source.cancel() }
    }
}

/// The task that a Ctrl-C stops.
final class AnswerStop: Sendable {
    private let task = Mutex<Task<Void, any Error>?>(nil)

    /// Says which task is running; nil for none.
    func set(_ running: Task<Void, any Error>?) { task.withLock { $0 = running } }

    /// Stops the running task; ends the process when there is none.
    func trigger() {
        let running = task.withLock { $0 }
        guard let running else {
            Terminal.talk("")
            exit(130)
        }
        running.cancel()
    }
}
