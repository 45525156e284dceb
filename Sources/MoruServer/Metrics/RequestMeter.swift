import MoruBase
import Synchronization

/// Counts what came in over HTTP.
final class RequestMeter: Sendable {
    /// What requests are counted by.
    struct Kind: Sendable, Hashable {
        var method: String
        /// The route, not the path: a name in it would make a series of its own.
        var endpoint: String
        /// The served model; empty where none was asked.
        var model: String
        var status: Int
    }

    private struct Times: Hashable {
        var endpoint: String
        var model: String
    }

    private struct State {
        var active = 0
        var counts: [Kind: Int] = [:]
        var seconds: [Times: Histogram] = [:]
    }

    private let state = Mutex(State())

    /// A request has come.
    func begin() { state.withLock { $0.active += 1 } }

    /// A request is answered, to the end of its body.
    func end(_ kind: Kind, seconds: Double) {
        state.withLock { state in
            state.active -= 1
            state.counts[kind, default: 0] += 1
            state.seconds[Times(endpoint: kind.endpoint, model: kind.model), default: .ofSeconds].record(seconds)
        }
    }

    /// What was counted.
    var families: [MetricFamily] {
        let state = state.withLock { $0 }
        var requests = MetricFamily(
            "moru_http_requests_total", .counter, "Requests answered, by route, served model and status.")
        let order: [(Kind, [String])] = state.counts.keys.map {
            ($0, [$0.endpoint, $0.method, $0.model, String($0.status)])
        }
        for (kind, _) in order.sorted(by: { $0.1.lexicographicallyPrecedes($1.1) }) {
            requests.add(
                Double(state.counts[kind] ?? 0),
                [
                    MetricLabel("endpoint", kind.endpoint), MetricLabel("method", kind.method),
                    MetricLabel("model", kind.model), MetricLabel("status", String(kind.status)),
                ])
        }
        var seconds = MetricFamily(
            "moru_http_request_seconds", .histogram,
            "Seconds from a request to the end of its answer, streams included.")
        for times in state.seconds.keys.sorted(by: { ($0.endpoint, $0.model) < ($1.endpoint, $1.model) }) {
            guard let histogram = state.seconds[times] else { continue }
            seconds.add(histogram, [MetricLabel("endpoint", times.endpoint), MetricLabel("model", times.model)])
        }
        return [
            requests, seconds,
            MetricFamily(
                "moru_http_requests_active", .gauge, "Requests that are being answered.", Double(state.active)),
        ]
    }
}
