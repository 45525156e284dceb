import MoruBase
import MoruText

/// Reads a message of a chat completion.
enum ChatMessageFields {
    /// A message: `{"role": ..., "content": ...}`, its content a string or a list of text parts.
    ///
    /// The role `developer` becomes `system`, which templates know. Members with nothing in them that OpenAI's answers
    /// carry (`refusal`, `annotations`, `audio`, `tool_calls`, `function_call`) are taken, so that an answer can be
    /// sent back as it came.
    static func message(_ json: JSON, path: String) throws(APIError) -> ChatMessage {
        var object = try RequestObject(json, path: path)
        let role = try role(&object)
        let content = try content(&object, role: role)
        var message = ChatMessage(role: role, content: content)
        if let name = try object.string("name") { message.extra["name"] = .string(name) }
        if role == "assistant", let reasoning = try object.string("reasoning_content") {
            message.extra["reasoning_content"] = .string(reasoning)
        }
        let noTools = "tools cannot be called yet; leave the call and its result out of the conversation"
        try object.refuse("tool_calls", unless: [[]], noTools)
        try object.refuse("function_call", noTools)
        try object.refuse("tool_call_id", noTools)
        try object.refuse("audio", "messages are text")
        try object.refuse("refusal", "send what was refused as 'content'")
        try object.refuse("annotations", unless: [[]], "messages are plain text")
        try object.finish()
        return message
    }

    private static func role(_ object: inout RequestObject) throws(APIError) -> String {
        let name = object.name(of: "role")
        guard let role = try object.string("role") else { throw .missing(name) }
        switch role {
        case "system", "user", "assistant": return role
        case "developer": return "system"
        case "tool", "function":
            throw .unsupportedValue(name, "is '\(role)', and tools cannot be called yet")
        default:
            throw .wrongValue(name, "is '\(role)', and must be one of system, developer, user and assistant")
        }
    }

    private static func content(_ object: inout RequestObject, role: String) throws(APIError) -> String {
        let name = object.name(of: "content")
        switch object.value("content") {
        case nil: throw .missing(name)
        case .string(let text)?: return text
        case .array(let parts)?:
            guard !parts.isEmpty else { throw .wrongValue(name, "is empty, and must have at least one part") }
            var text = ""
            for (position, part) in parts.enumerated() { text += try self.text(of: part, path: "\(name)[\(position)]") }
            return text
        case let other?: throw .wrongType(name, expected: "a string or an array of parts", found: other)
        }
    }

    private static func text(of part: JSON, path: String) throws(APIError) -> String {
        var object = try RequestObject(part, path: path)
        guard let type = try object.string("type") else { throw .missing("\(path).type") }
        guard type == "text" else {
            throw .unsupportedValue("\(path).type", "is '\(type)', and this model reads text parts alone")
        }
        guard let text = try object.string("text") else { throw .missing("\(path).text") }
        try object.finish()
        return text
    }
}
