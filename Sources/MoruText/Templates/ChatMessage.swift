import MoruBase

/// One turn of a conversation: who speaks, what is said, and what else the message carries.
public struct ChatMessage: Sendable, Hashable {
    /// What the `content` member of the message's JSON is.
    private enum Form: Sendable, Hashable {
        case text
        /// `null`, a list of parts, or (nil) no member at all.
        case other(JSON?)
    }

    /// Who speaks: `system`, `user`, `assistant` or `tool`.
    public var role: String
    /// What is said. For a message made of parts this is the text of its text parts; setting it makes the message
    /// plain text.
    public var content: String { didSet { form = .text } }
    /// Everything else: `tool_calls`, `tool_call_id`, `name`, `reasoning_content`...
    public var extra: JSONObject
    private var form: Form

    /// Makes a plain message.
    public init(role: String, content: String) {
        self.role = role
        self.content = content
        extra = JSONObject()
        form = .text
    }

    /// Reads a message as clients and data sets write it: `{"role": ..., "content": ..., ...}`. The content may be a
    /// string, `null`, absent, or a list of parts.
    ///
    /// - Throws: ``MoruError/Code/messageMalformed``.
    public init(json: JSON) throws(MoruError) {
        guard case .object(let object) = json else {
            throw MoruError(
                .messageMalformed, "a message must be an object, not \(json.kindName)",
                remedy: "write it as {\"role\": ..., \"content\": ...}")
        }
        guard case .string(let role)? = object["role"] else {
            throw MoruError(
                .messageMalformed, "a message's 'role' must be a string",
                remedy: "use system, user, assistant or tool")
        }
        var extra = object
        extra["role"] = nil
        extra["content"] = nil
        self.role = role
        self.extra = extra
        switch object["content"] {
        case .string(let text)?:
            content = text
            form = .text
        case .array(let parts)?:
            content = parts.compactMap { $0.string ?? $0["text"]?.string }.joined()
            form = .other(.array(parts))
        case nil, .null?:
            content = ""
            form = .other(object["content"])
        case let other?:
            throw MoruError(
                .messageMalformed, "a message's 'content' must be a string or a list of parts, not \(other.kindName)")
        }
    }

    /// The message as JSON, as templates see it.
    public var json: JSON {
        var object = JSONObject([("role", .string(role))])
        switch form {
        case .text: object["content"] = .string(content)
        case .other(let value): object["content"] = value
        }
        for (key, value) in extra.members { object[key] = value }
        return .object(object)
    }
}
