import MoruBase
import MoruText

/// Reads what a response answers to: the conversation so far, as text or as items.
enum ResponseInputFields {
    /// The messages that `input` comes to.
    ///
    /// Calls of functions, items of their own here, become part of the assistant's message before them, as templates
    /// know them. The output of an earlier response can be sent back as it came.
    static func messages(_ value: JSON) throws(APIError) -> [ChatMessage] {
        if let text = value.string {
            guard !text.isEmpty else { throw .wrongValue("input", "is empty") }
            return [ChatMessage(role: "user", content: text)]
        }
        guard let elements = value.array else {
            throw .wrongType("input", expected: "a string or an array of items", found: value)
        }
        guard !elements.isEmpty else { throw .wrongValue("input", "is empty, and must have at least one item") }
        var reader = Reader()
        for (position, element) in elements.enumerated() { try reader.take(element, path: "input[\(position)]") }
        return reader.messages
    }

    /// Puts items together to messages.
    private struct Reader {
        private(set) var messages: [ChatMessage] = []
        private var calls: Set<String> = []

        mutating func take(_ json: JSON, path: String) throws(APIError) {
            var item = try RequestObject(json, path: path)
            // How an item was kept where it came from
            item.accept("id", "status")
            switch try item.string("type") ?? "message" {
            case "message": try takeMessage(&item)
            case "function_call": try takeCall(&item, path: path)
            case "function_call_output": try takeOutput(&item)
            case "item_reference":
                throw .unsupportedValue("\(path).type", "is 'item_reference', and items are not stored; send the item")
            case let type:
                throw .unsupportedValue(
                    "\(path).type",
                    "is '\(type)', and this server reads message, function_call and function_call_output; leave it out")
            }
            try item.finish()
        }

        private mutating func takeMessage(_ item: inout RequestObject) throws(APIError) {
            let name = item.name(of: "role")
            guard var role = try item.string("role") else { throw .missing(name) }
            guard ["system", "developer", "user", "assistant"].contains(role) else {
                throw .wrongValue(name, "is '\(role)', and must be one of system, developer, user and assistant")
            }
            if role == "developer" { role = "system" }
            // Which part of a turn a message is, as some of OpenAI's models have it
            if role == "assistant" { item.accept("phase") }
            let text = try ResponseInputFields.text(&item, "content", isAnswer: role == "assistant")
            if role == "assistant", let last = messages.last, last.extra["tool_calls"] != nil, last.content.isEmpty {
                messages[messages.count - 1].content = text
            } else {
                messages.append(ChatMessage(role: role, content: text))
            }
        }

        private mutating func takeCall(_ item: inout RequestObject, path: String) throws(APIError) {
            guard let id = try item.string("call_id") else { throw .missing("\(path).call_id") }
            guard let name = try item.string("name") else { throw .missing("\(path).name") }
            let arguments = try item.string("arguments") ?? "{}"
            let call = try ChatMessageFields.call(id, name, arguments: arguments, param: "\(path).arguments")
            calls.insert(id)
            if messages.last?.role != "assistant" { messages.append(ChatMessage(role: "assistant", content: "")) }
            let earlier = messages[messages.count - 1].extra["tool_calls"]?.array ?? []
            messages[messages.count - 1].extra["tool_calls"] = .array(earlier + [call])
        }

        private mutating func takeOutput(_ item: inout RequestObject) throws(APIError) {
            let name = item.name(of: "call_id")
            guard let id = try item.string("call_id") else { throw .missing(name) }
            guard calls.contains(id) else {
                throw .wrongValue(name, "is '\(id)', and no function_call before it has that call_id")
            }
            var message = ChatMessage(
                role: "tool", content: try ResponseInputFields.text(&item, "output", isAnswer: false))
            message.extra["tool_call_id"] = .string(id)
            messages.append(message)
        }
    }

    /// A field that is text, or parts of text.
    ///
    /// - Parameter isAnswer: Whether parts may be those of an answer.
    private static func text(
        _ item: inout RequestObject, _ key: String, isAnswer: Bool
    ) throws(APIError) -> String {
        let name = item.name(of: key)
        let value = try item.required(key)
        if let text = value.string { return text }
        guard let parts = value.array else {
            throw .wrongType(name, expected: "a string or an array of parts", found: value)
        }
        var text = ""
        for (position, element) in parts.enumerated() {
            let path = "\(name)[\(position)]"
            var part = try RequestObject(element, path: path)
            guard let type = try part.string("type") else { throw .missing("\(path).type") }
            guard type == "input_text" || (isAnswer && type == "output_text") else {
                throw .unsupportedValue("\(path).type", "is '\(type)', and this model reads text parts alone")
            }
            guard let piece = try part.string("text") else { throw .missing("\(path).text") }
            if type == "output_text" { part.accept("annotations", "logprobs") }
            try part.finish()
            text += piece
        }
        return text
    }
}
