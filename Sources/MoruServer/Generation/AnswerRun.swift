import MoruBase
import MoruEngine

/// Generates all answers of a request, side by side, until they are done, the client has gone, or time is up.
struct AnswerRun: Sendable {
    let plan: AnswerPlan
    let timeout: Duration?
    let monitor: ConnectionMonitor

    /// The events of all answers, each with the number of its answer. Dropping the stream stops the generation.
    func events() -> AsyncThrowingStream<(Int, ChoiceEvent), any Error> {
        let (stream, continuation) = AsyncThrowingStream.makeStream(of: (Int, ChoiceEvent).self)
        let task = Task {
            do {
                try await monitor.cancellingOnClose {
                    try await withTimeout(timeout) {
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
            if case .finished(_, let cost) = event { usage.completionTokens += cost.generatedTokens }
        }
        try Task.checkCancellation()
        return (choices, usage)
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

/// Runs an operation, and cancels it when it takes longer than `limit`.
///
/// - Throws: ``MoruError/Code/requestTimeout``, or what the operation throws.
func withTimeout(_ limit: Duration?, _ operation: @escaping @Sendable () async throws -> Void) async throws {
    guard let limit else { return try await operation() }
    try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask(operation: operation)
        group.addTask {
            try await Task.sleep(for: limit)
            throw MoruError(
                .requestTimeout, "the request took longer than this server's limit of \(limit)",
                remedy: "ask for fewer tokens, or raise the limit")
        }
        defer { group.cancelAll() }
        try await group.next()
    }
}
