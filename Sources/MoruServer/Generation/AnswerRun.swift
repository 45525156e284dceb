import MoruBase
import MoruEngine
import ServiceLifecycle

/// Generates all answers of a request, side by side, until they are done, the client has gone, time is up, or the
/// server stops.
struct AnswerRun: Sendable {
    let plan: AnswerPlan
    let limits: RequestLimits
    let monitor: ConnectionMonitor

    /// The events of all answers, each with the number of its answer. Dropping the stream stops the generation.
    func events() -> AsyncThrowingStream<(Int, ChoiceEvent), any Error> {
        let (stream, continuation) = AsyncThrowingStream.makeStream(of: (Int, ChoiceEvent).self)
        let task = Task {
            do {
                try await monitor.cancellingOnClose {
                    try await limits.apply {
                        try await generate { continuation.yield(($0, $1)) }
                    }
                }
                continuation.finish()
            } catch {
                continuation.finish(throwing: error)
            }
        }
        continuation.onTermination = { _ in task.cancel() }
        return stream
    }

    /// Waits for all answers.
    ///
    /// - Throws: What generating throws, and `CancellationError` when the client has gone.
    func collect() async throws -> ([CollectedChoice], TokenUsage) {
        var choices = plan.choices.indices.map { CollectedChoice(index: $0) }
        var usage = TokenUsage(promptTokens: plan.promptTokens)
        for try await (index, event) in events() {
            choices[index].apply(event)
            if case .finished(_, let cost) = event { plan.add(cost, of: index, to: &usage) }
        }
        try Task.checkCancellation()
        return (plan.best(of: choices), usage)
    }

    private func generate(_ yield: @escaping @Sendable (Int, ChoiceEvent) -> Void) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for (index, choice) in plan.choices.enumerated() {
                group.addTask { try await choice.generate(with: plan.model) { yield(index, $0) } }
            }
            try await group.waitForAll()
        }
    }
}

/// How long a request may go on.
struct RequestLimits: Sendable {
    /// The longest that it may take; nil for no limit.
    let timeout: Duration?
    /// How long it may go on after the server was told to stop.
    let shutdownGrace: Duration

    /// Runs an operation, and cancels it when it goes on for too long.
    ///
    /// - Throws: ``MoruError/Code/requestTimeout``, ``MoruError/Code/serverStopping``, or what the operation throws.
    func apply<Value: Sendable>(_ operation: @escaping @Sendable () async throws -> Value) async throws -> Value {
        try await withThrowingTaskGroup(of: Value.self) { group in
            group.addTask(operation: operation)
            if let timeout {
                group.addTask {
                    try await Task.sleep(for: timeout)
                    throw MoruError(
                        .requestTimeout, "the request took longer than this server's limit of \(timeout)",
                        remedy: "ask for fewer tokens, or raise the limit")
                }
            }
            group.addTask {
                try await gracefulShutdown()
                try await Task.sleep(for: shutdownGrace)
                throw MoruError(.serverStopping, "the server is stopping", remedy: "ask again when it has started")
            }
            defer { group.cancelAll() }
            guard let value = try await group.next() else { throw CancellationError() }
            return value
        }
    }
}

extension RequestLimits {
    /// The limits of a server's requests.
    init(_ configuration: ServerConfiguration) {
        self.init(timeout: configuration.requestTimeout, shutdownGrace: configuration.shutdownGrace)
    }
}
