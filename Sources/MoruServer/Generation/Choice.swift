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
    var index: Int
    var text = ""
    var tokens: [ScoredToken] = []
    var calls: [ToolCall] = []
    /// How many calls came before the text.
    private var callsBeforeText = 0
    var reason = FinishReason.cancelled

    init(index: Int) { self.index = index }

    /// Takes in what happened next.
    mutating func apply(_ event: ChoiceEvent) {
        switch event {
        case .piece(let piece):
            if text.isEmpty, tokens.isEmpty { callsBeforeText = calls.count }
            text += piece.text
            tokens += piece.tokens
        case .call(let call, _): calls.append(call)
        case .finished(let reason, _): self.reason = reason
        }
    }

    /// What happened, its text in one piece.
    var events: [ChoiceEvent] {
        var events = calls.enumerated().map { ChoiceEvent.call($1, number: $0) }
        if !text.isEmpty || !tokens.isEmpty {
            events.insert(.piece(ChoicePiece(text: text, tokens: tokens)), at: callsBeforeText)
        }
        return events + [.finished(reason, GenerationUsage(promptTokens: 0))]
    }
}
