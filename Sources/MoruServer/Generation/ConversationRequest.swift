import MoruText

/// What continues a conversation, by whichever endpoint it was asked for.
protocol ConversationRequest: Sendable {
    /// How to answer.
    var fields: GenerationFields { get }
    /// The conversation so far.
    var messages: [ChatMessage] { get }
    /// The field that holds it, for errors.
    var messagesParam: String { get }
    /// The functions that the model may call.
    var tools: ToolFields { get }
    /// The most tokens of an answer; nil for as many as the context holds.
    var maximumTokens: Int? { get }
    /// With a number, tokens come with their log-probability and this many alternatives.
    var logProbabilities: Int? { get }
}
