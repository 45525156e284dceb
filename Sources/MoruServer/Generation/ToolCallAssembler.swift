import MoruBase
import MoruText

/// Takes the calls of functions out of an answer's pieces.
struct ToolCallAssembler: Sendable {
    private var scanner: ToolCallScanner
    private let format: ToolCallFormat
    private let allowsSeveral: Bool
    private var count = 0
    /// Tokens whose text is held back with theirs.
    private var tokens: [ScoredToken] = []

    init(_ format: ToolCallFormat, parameters: [String: JSON] = [:], allowsSeveral: Bool) {
        scanner = ToolCallScanner(format, parameters: parameters)
        self.format = format
        self.allowsSeveral = allowsSeveral
    }

    /// Whether there was a call.
    var hasCalls: Bool { count > 0 }

    /// What an event means once calls are told from text.
    mutating func take(_ event: ChoiceEvent) -> [ChoiceEvent] {
        switch event {
        case .piece(let piece):
            tokens += piece.tokens
            return events(scanner.append(piece.text))
        case .finished:
            var rest = events(scanner.finish())
            if !tokens.isEmpty { rest.append(.piece(ChoicePiece(text: "", tokens: tokens))) }
            tokens = []
            return rest + [event]
        case .call: return [event]
        }
    }

    private mutating func events(_ parts: [ToolCallScanner.Part]) -> [ChoiceEvent] {
        var events: [ChoiceEvent] = []
        for part in parts {
            switch part {
            case .text(let text):
                events.append(.piece(ChoicePiece(text: text, tokens: tokens)))
                tokens = []
            case .call(var call):
                guard allowsSeveral || count == 0 else { continue }
                call.id =
                    format.wantsShortIDs
                    ? AnswerHead.identifier("", length: 9) : AnswerHead.identifier("call_", length: 24)
                events.append(.call(call, number: count))
                count += 1
            }
        }
        return events
    }
}
