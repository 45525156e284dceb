import MoruBase
import MoruText

/// Reads a message of a chat completion.
enum ChatMessageFields {
    /// A message: `{"role": ..., "content": ...}`, its content a string or a list of text parts.
    ///
    /// The role `developer` becomes `system`, which templates know. Members with nothing in them that OpenAI's answers
    /// carry (`refusal`, `annotations`, `audio`, `function_call`) are taken, so that an answer can be sent back as it
    /// came.
    static func message(_ json: JSON, path: String) throws(APIError) -> ChatMessage {
        var object = try RequestObject(json, path: path)
        let role = try role(&object)
        let calls = role == "assistant" ? try toolCalls(&object) : []
        let content = try content(&object, role: role, isOptional: !calls.isEmpty)
        var message = ChatMessage(role: role, content: content)
        if !calls.isEmpty { message.extra["tool_calls"] = .array(calls) }
        if role == "tool" {
            guard let id = try object.string("tool_call_id") else { throw .missing("\(path).tool_call_id") }
            message.extra["tool_call_id"] = .string(id)
        }
        if let name = try object.string("name") { message.extra["name"] = .string(name) }
        if role == "assistant", let reasoning = try object.string("reasoning_content") {
            message.extra["reasoning_content"] = .string(reasoning)
        }
        if role != "assistant" { try object.refuse("tool_calls", "it belongs to messages of the assistant") }
        try object.refuse("function_call", "it has become 'tool_calls'; send that")
        if role != "tool" { try object.refuse("tool_call_id", "it belongs to messages of the role 'tool'") }
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
        case "system", "user", "assistant", "tool": return role
        case "developer": return "system"
        case "function": throw .unsupportedValue(name, "is 'function', which has become 'tool'")
        default:
            throw .wrongValue(name, "is '\(role)', and must be one of system, developer, user, assistant and tool")
        }
    }

    /// The calls of an assistant's message, as templates read them: their arguments as objects.
    private static func toolCalls(_ object: inout RequestObject) throws(APIError) -> [JSON] {
        let name = object.name(of: "tool_calls")
        guard let value = object.value("tool_calls") else { return [] }
        guard let elements = value.array else { throw .wrongType(name, expected: "an array", found: value) }
        var calls: [JSON] = []
        for (position, element) in elements.enumerated() {
            let path = "\(name)[\(position)]"
            var call = try RequestObject(element, path: path)
            guard let id = try call.string("id") else { throw .missing("\(path).id") }
            guard try call.string("type") ?? "function" == "function" else {
                throw .unsupportedValue("\(path).type", "must be 'function'")
            }
            var function = try RequestObject(try call.required("function"), path: "\(path).function")
            guard let callee = try function.string("name") else { throw .missing("\(path).function.name") }
            let text = try function.string("arguments") ?? "{}"
            calls.append(try self.call(id, callee, arguments: text, param: "\(path).function.arguments"))
            try function.finish()
            call.accept("index")
            try call.finish()
        }
        return calls
    }

    /// A call as templates read it.
    ///
    /// - Parameter param: The field that holds the arguments.
    static func call(_ id: String, _ name: String, arguments: String, param: String) throws(APIError) -> JSON {
        let parsed: JSON
        do { parsed = try JSON.parse(arguments, source: "arguments") } catch { throw APIError(error, param: param) }
        return [
            "id": .string(id), "type": "function", "function": ["name": .string(name), "arguments": parsed],
        ]
    }

    private static func content(
        _ object: inout RequestObject, role: String, isOptional: Bool
    ) throws(APIError) -> String {
        let name = object.name(of: "content")
        switch object.value("content") {
        case nil where isOptional: return ""
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
