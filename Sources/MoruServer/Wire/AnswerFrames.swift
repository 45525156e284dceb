import Hummingbird
import MoruBase

/// Writes an answer as the frames of an event stream, in order.
protocol AnswerFrames: Sendable {
    /// What stands before the answers.
    mutating func opening(choices: Int) -> [ByteBuffer]
    /// What happens next in the answer with this number.
    mutating func frames(_ index: Int, _ event: ChoiceEvent) -> [ByteBuffer]
    /// What stands after the answers.
    mutating func closing(_ usage: TokenUsage) -> [ByteBuffer]
    /// What stands at the end instead, after a failure.
    mutating func failure(_ error: APIError) -> [ByteBuffer]
}

/// An answer in chunks: for each choice an opening, pieces and a closing chunk, then what it cost, then the frame that ends it.
///
/// A failure in between is an event that says so, and nothing follows it.
struct ChunkFrames: AnswerFrames {
    private let format: any ChunkFormat
    private let includesUsage: Bool
    /// The answers with calls of functions.
    private var called: Set<Int> = []

    init(_ format: any ChunkFormat, includesUsage: Bool) {
        (self.format, self.includesUsage) = (format, includesUsage)
    }

    mutating func opening(choices: Int) -> [ByteBuffer] {
        (0..<choices).compactMap { format.opening(of: $0).map(frame) }
    }

    mutating func frames(_ index: Int, _ event: ChoiceEvent) -> [ByteBuffer] {
        switch event {
        case .piece(let piece): return [frame(format.chunk(index, piece))]
        case .call(let call, let number):
            called.insert(index)
            return [frame(format.chunk(index, call, number: number))]
        case .finished(let reason, _):
            return [frame(format.closing(of: index, reason, hasCalls: called.contains(index)))]
        }
    }

    mutating func closing(_ usage: TokenUsage) -> [ByteBuffer] {
        (includesUsage ? [ServerSentEvents.frame(format.usageChunk(usage))] : []) + (format.ending.map { [$0] } ?? [])
    }

    mutating func failure(_ error: APIError) -> [ByteBuffer] { [ServerSentEvents.frame(format.failure(error))] }

    private func frame(_ chunk: JSON) -> ByteBuffer {
        guard includesUsage, var object = chunk.object else { return ServerSentEvents.frame(chunk) }
        // With usage asked for, every chunk has the field, and all but the last have nothing in it.
        object["usage"] = .null
        return ServerSentEvents.frame(.object(object))
    }
}
