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

/// What a request cost, filled in as it becomes known.
final class RequestRecord: Sendable {
    private let state = Mutex<(prompt: Int, generated: Int, failure: String?)>((0, 0, nil))

    /// Notes the tokens of a finished answer.
    func note(_ usage: TokenUsage) {
        state.withLock { ($0.prompt, $0.generated) = (usage.promptTokens, usage.completionTokens) }
    }

    /// Notes a failure after the response's head was sent.
    func note(failure code: String) { state.withLock { $0.failure = code } }

    /// The tokens of the prompts and of the answers.
    var tokens: (prompt: Int, generated: Int) { state.withLock { ($0.prompt, $0.generated) } }
    /// The code of a failure after the response's head was sent.
    var failure: String? { state.withLock { $0.failure } }
}
