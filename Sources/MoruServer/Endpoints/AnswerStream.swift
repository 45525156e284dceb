import Hummingbird
import MoruBase
import MoruEngine

/// An answer as an event stream: for each choice an opening, pieces and a closing chunk, then what it cost, then
/// `[DONE]`.
///
/// A failure in between is an event with `error`, and nothing follows it.
struct AnswerStream: Sendable {
    let run: AnswerRun
    let format: any AnswerFormat
    let includesUsage: Bool
    let context: ServerContext

    /// The response, whose body generates as it is written.
    var response: Response {
        Response(
            status: .ok, headers: ServerSentEvents.headers,
            body: ResponseBody { writer in
                do {
                    try await write(to: &writer)
                } catch let error as WriteFailure {
                    throw error.cause
                } catch {
                    let rendered = APIError(error)
                    context.record.note(failure: rendered.code)
                    context.note(error, rendered)
                    try await writer.write(ServerSentEvents.frame(format.failure(rendered)))
                }
                try await writer.finish(nil)
            })
    }

    /// The client could not be written to, so it cannot be told either.
    private struct WriteFailure: Error {
        let cause: any Error
    }

    private func write(to writer: inout any ResponseBodyWriter) async throws {
        for index in run.plan.choices.indices {
            if let chunk = format.opening(of: index) { try await write(chunk, to: &writer) }
        }
        var usage = TokenUsage(promptTokens: run.plan.promptTokens)
        var called: Set<Int> = []
        for try await (index, event) in run.events() {
            switch event {
            case .piece(let piece): try await write(format.chunk(index, piece), to: &writer)
            case .call(let call, let number):
                called.insert(index)
                try await write(format.chunk(index, call, number: number), to: &writer)
            case .finished(let reason, let cost):
                run.plan.add(cost, of: index, to: &usage)
                try await write(format.closing(of: index, reason, hasCalls: called.contains(index)), to: &writer)
            }
        }
        try Task.checkCancellation()
        context.record.note(usage)
        if includesUsage { try await write(ServerSentEvents.frame(format.usageChunk(usage)), to: &writer) }
        if let ending = format.ending { try await write(ending, to: &writer) }
    }

    private func write(_ chunk: JSON, to writer: inout any ResponseBodyWriter) async throws {
        guard includesUsage, var object = chunk.object else {
            return try await write(ServerSentEvents.frame(chunk), to: &writer)
        }
        // With usage asked for, every chunk has the field, and all but the last have nothing in it.
        object["usage"] = .null
        try await write(ServerSentEvents.frame(.object(object)), to: &writer)
    }

    private func write(_ frame: ByteBuffer, to writer: inout any ResponseBodyWriter) async throws {
        do {
            try await writer.write(frame)
        } catch {
            throw WriteFailure(cause: error)
        }
    }
}
