import Hummingbird
import MoruEngine
import NIOCore
import Synchronization

/// What travels with a request through the server.
struct ServerContext: RequestContext {
    var coreContext: CoreRequestContextStorage
    /// The connection that the request came in on.
    let channel: any Channel
    /// What is known of the request when it ends, for its log line.
    let record = RequestRecord()

    init(source: Source) {
        coreContext = .init(source: source)
        channel = source.channel
    }
}

/// What becomes known of a request in its course, for its log line and the metrics: never what was asked or answered.
final class RequestRecord: Sendable {
    /// The record of the request that the current task answers.
    @TaskLocal static var current: RequestRecord?

    private struct State {
        var model: (name: String, version: String)?
        var usage: TokenUsage?
        var failure: String?
    }

    private let state = Mutex(State())

    /// Notes which served model is asked.
    func note(_ model: ServedModel) { state.withLock { $0.model = (model.name, model.version) } }

    /// Notes the tokens of a finished answer.
    func note(_ usage: TokenUsage) { state.withLock { $0.usage = usage } }

    /// Notes a failure after the response's head was sent.
    func note(failure code: String) { state.withLock { $0.failure = code } }

    /// The served model that was asked, if any.
    var model: String? { state.withLock { $0.model?.name } }
    /// Its version.
    var modelVersion: String? { state.withLock { $0.model?.version } }
    /// The tokens of the prompts and of the answers, where the answer is finished and has any.
    var usage: TokenUsage? { state.withLock { $0.usage } }
    /// The code of a failure after the response's head was sent.
    var failure: String? { state.withLock { $0.failure } }
}
