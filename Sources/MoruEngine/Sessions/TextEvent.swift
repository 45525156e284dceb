/// What happens in the course of a generation of text, in order.
public enum TextEvent: Sendable {
    /// The prompt's tokens, scored; once, before the first token, where asked for.
    case promptScored([TokenScore])
    /// The next token; its text follows in a ``text(_:)`` as soon as it is certain.
    case token(TokenScore)
    /// The next part of the answer: never half a character, never a part of a stop string.
    case text(String)
    /// The end; nothing follows.
    case finished(FinishReason, GenerationUsage)
}

/// An answer, complete.
public struct GeneratedText: Sendable, Hashable {
    /// The text, without end token and stop string.
    public var text: String
    /// The tokens, those of a stop string included, an end token not.
    public var tokens: [TokenScore]
    /// The prompt's tokens, scored, where asked for.
    public var promptScores: [TokenScore]?
    /// Why it ended.
    public var finishReason: FinishReason
    /// What it cost.
    public var usage: GenerationUsage

    /// The tokens' ids.
    public var ids: [Int32] { tokens.map(\.id) }
}
