import Dispatch
import Foundation
import MoruBase
import Synchronization

/// Turns Ctrl-C (and SIGTERM) into a request to stop at the next good moment. The second request ends the process,
/// unless requests are repeatable. Once an interruption is gone, the first one does.
final class Interruption: Sendable {
    private let request: StopRequest

    /// Whether a stop was requested.
    var isRequested: Bool { request.isMade.load(ordering: .relaxed) }

    /// Takes over the signals.
    ///
    /// - Parameters:
    ///   - isRepeatable: Whether every Ctrl-C is a request of its own, so that none ends the process.
    ///   - onRequest: Called on another thread at each request.
    init(isRepeatable: Bool = false, onRequest: @escaping @Sendable () -> Void = {}) {
        request = StopRequest(isRepeatable: isRepeatable, onMade: onRequest)
        SignalWatch.begin(request)
    }

    deinit { SignalWatch.end(request) }

    /// From now on, Ctrl-C and SIGTERM end the process only when what it is writing is removed.
    static func endsTidily() { SignalWatch.start() }
}

/// What an interruption asks for.
private final class StopRequest: Sendable {
    let isMade = Atomic<Bool>(false)
    let isRepeatable: Bool
    let onMade: @Sendable () -> Void

    init(isRepeatable: Bool, onMade: @escaping @Sendable () -> Void) {
        (self.isRepeatable, self.onMade) = (isRepeatable, onMade)
    }
}

/// Ctrl-C and SIGTERM, watched from the first interruption to the end of the process: once watched, a signal no longer
/// ends a process by itself, nor can it be watched a second time (Dispatch installs its handler once).
private enum SignalWatch {
    private static let requests = Mutex<[StopRequest]>([])
    // A serial queue has a thread whenever it needs one; the global queue has as many as there are processors, and on a
    // machine with one, training holds it
    private static let queue = DispatchQueue(label: "moru.interruption")
    // Dispatch sources may be used from any thread, but do not say so
    nonisolated(unsafe) private static let sources = [SIGINT, SIGTERM].map { number in
        signal(number, SIG_IGN)
        let source = DispatchSource.makeSignalSource(signal: number, queue: queue)
        source.setEventHandler { deliver(number) }
        source.resume()
        return source
    }

    static func start() { _ = sources }

    static func begin(_ request: StopRequest) {
        requests.withLock { $0.append(request) }
        start()
    }

    static func end(_ request: StopRequest) { requests.withLock { $0.removeAll { $0 === request } } }

    private static func deliver(_ number: Int32) {
        let request = requests.withLock { $0.last }
        let isSecond = request?.isMade.exchange(true, ordering: .sequentiallyConsistent) ?? true
        let ends = request?.isRepeatable == true ? number == SIGTERM : isSecond
        guard let request, !ends else {
            FileSystem.abandonWriting { exit(128 + number) }
        }
        request.onMade()
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
