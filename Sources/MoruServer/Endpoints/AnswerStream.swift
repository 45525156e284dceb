import Hummingbird
import MoruEngine

/// An answer as an event stream.
struct AnswerStream: Sendable {
    let run: AnswerRun
    let frames: any AnswerFrames
    let context: ServerContext

    /// The response, whose body generates as it is written.
    var response: Response {
        Response(
            status: .ok, headers: ServerSentEvents.headers,
            body: ResponseBody { writer in
                var frames = frames
                do {
                    try await write(&frames, to: &writer)
                } catch let error as WriteFailure {
                    throw error.cause
                } catch {
                    let rendered = APIError(error)
                    context.record.note(failure: rendered.code)
                    context.note(error, rendered)
                    for frame in frames.failure(rendered) { try await writer.write(frame) }
                }
                try await writer.finish(nil)
            })
    }

    /// The client could not be written to, so it cannot be told either.
    private struct WriteFailure: Error {
        let cause: any Error
    }

    private func write(_ frames: inout any AnswerFrames, to writer: inout any ResponseBodyWriter) async throws {
        // Begun before anything is written, so that nobody who is slow to read delays it
        let events = run.events()
        try await write(frames.opening(choices: run.plan.choices.count), to: &writer)
        var usage = TokenUsage(promptTokens: run.plan.promptTokens)
        for try await (index, event) in events {
            if case .finished(_, let cost) = event { run.plan.add(cost, of: index, to: &usage) }
            try await write(frames.frames(index, event), to: &writer)
        }
        try Task.checkCancellation()
        context.record.note(usage)
        try await write(frames.closing(usage), to: &writer)
    }

    private func write(_ frames: [ByteBuffer], to writer: inout any ResponseBodyWriter) async throws {
        do {
            for frame in frames { try await writer.write(frame) }
        } catch {
            throw WriteFailure(cause: error)
        }
    }
}
