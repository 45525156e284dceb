import MoruEngine
import MoruText

/// A piece of an answer: its text, and the tokens that became certain with it where they are scored.
struct ChoicePiece: Sendable, Hashable {
    var text: String
    var tokens: [ScoredToken]
}

/// What happens in the course of one answer.
enum ChoiceEvent: Sendable {
    /// The next piece.
    case piece(ChoicePiece)
    /// A call of a function, the answer's first or a further one.
    case call(ToolCall, number: Int)
    /// The end; nothing follows.
    case finished(FinishReason, GenerationUsage)
}

/// A whole answer.
struct CollectedChoice: Sendable {
    /// Its place among the request's answers.
    let index: Int
    var text = ""
    var tokens: [ScoredToken] = []
    var calls: [ToolCall] = []
    var reason = FinishReason.cancelled

    init(index: Int) { self.index = index }

    /// Takes in what happened next.
    mutating func apply(_ event: ChoiceEvent) {
        switch event {
        case .piece(let piece):
            text += piece.text
            tokens += piece.tokens
        case .call(let call, _): calls.append(call)
        case .finished(let reason, _): self.reason = reason
        }
    }
}
