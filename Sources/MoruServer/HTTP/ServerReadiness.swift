import ServiceLifecycle
import Synchronization

/// Whether the server takes requests, as those who send them ask: not any more from the signal to stop on.
final class ServerReadiness: Sendable {
    private let isDraining = Atomic(false)

    /// Whether requests should come here.
    var isReady: Bool { !isDraining.load(ordering: .relaxed) }

    /// Notes that the server is about to stop.
    func drain() { isDraining.store(true, ordering: .relaxed) }
}

/// Says for some time that the server is about to stop, while it still takes requests: a load balancer needs as long to
/// send them elsewhere.
///
/// Services stop in the reverse order of their start; this is to be the last.
struct DrainService: Service {
    let readiness: ServerReadiness
    let delay: Duration

    func run() async throws {
        try await gracefulShutdown()
        readiness.drain()
        try await Task.sleep(for: delay)
    }
}
