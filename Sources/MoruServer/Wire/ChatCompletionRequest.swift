import MoruBase
import MoruText

/// The body of `POST /v1/chat/completions`.
///
/// Fields of OpenAI's API that would change the answer, and that this server does not act on, are refused by name.
/// `user`, `metadata`, `safety_identifier` and `prompt_cache_key` are taken and change nothing.
struct ChatCompletionRequest: ConversationRequest {
    var fields: GenerationFields
    var messages: [ChatMessage]
    let messagesParam = "messages"
    var tools: ToolFields
    var maximumTokens: Int?
    var logProbabilities: Int?

    /// Reads the body.
    init(_ json: JSON) throws(APIError) {
        var request = try RequestObject(json)
        fields = try GenerationFields(&request)
        messages = try Self.messages(&request)
        tools = try ToolFields(&request)
        try tools.check(against: fields.structure)
        maximumTokens = try Self.maximumTokens(&request)
        logProbabilities = try Self.logProbabilities(&request)
        try Self.refuseUnsupported(&request)
        try request.finish()
    }

    /// The messages of a conversation.
    static func messages(_ request: inout RequestObject) throws(APIError) -> [ChatMessage] {
        let value = try request.required("messages")
        guard let elements = value.array else { throw .wrongType("messages", expected: "an array", found: value) }
        guard !elements.isEmpty else { throw .wrongValue("messages", "is empty, and must have at least one message") }
        var messages: [ChatMessage] = []
        for (position, element) in elements.enumerated() {
            messages.append(try ChatMessageFields.message(element, path: "messages[\(position)]"))
        }
        return messages
    }

    /// `max_completion_tokens`, or `max_tokens` as it was named before.
    private static func maximumTokens(_ request: inout RequestObject) throws(APIError) -> Int? {
        let old = try request.int("max_tokens", in: 1...Int.max)
        let new = try request.int("max_completion_tokens", in: 1...Int.max)
        if let old, let new, old != new {
            throw .wrongValue(
                "max_tokens",
                "is \(old) while 'max_completion_tokens' is \(new); send one of them, the latter by choice")
        }
        return new ?? old
    }

    private static func logProbabilities(_ request: inout RequestObject) throws(APIError) -> Int? {
        let wanted = try request.bool("logprobs") ?? false
        let top = try request.int("top_logprobs", in: 0...GenerationFields.maximumAlternatives)
        if top != nil, !wanted { throw .wrongValue("top_logprobs", "is only allowed with 'logprobs': true") }
        return wanted ? top ?? 0 : nil
    }

    private static func refuseUnsupported(_ request: inout RequestObject) throws(APIError) {
        try request.refuse("modalities", unless: [["text"]], "answers are text; send [\"text\"] or nothing")
        try request.refuse("audio", "answers are text")
        try request.refuse("prediction", "answers are computed without predictions")
        try request.refuse("reasoning_effort", "the model decides itself; leave it out")
        try request.refuse("verbosity", "the model decides itself; ask for it in a message")
        try request.refuse("web_search_options", "there is no web search")
        try request.refuse("prompt_cache_retention", "prompts are not kept between requests; leave it out")
        try request.refuse("best_of", "use 'n'")
    }
}
