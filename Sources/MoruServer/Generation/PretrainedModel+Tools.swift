import MoruBase
import MoruModels
import MoruText

extension PretrainedModel {
    /// The prompt of a conversation in which functions may be called.
    ///
    /// A template that does not know of tools is shown them, calls and results as text.
    ///
    /// - Parameter tools: The functions, as OpenAI's API describes them; empty for none.
    /// - Throws: What the template throws.
    func prompt(for messages: [ChatMessage], calling tools: [JSON]) throws(MoruError) -> [Int32] {
        try conversation(messages, calling: tools, addGenerationPrompt: true).tokens
    }

    /// A conversation in which functions may be called, as text and as token ids.
    ///
    /// - Throws: What the template throws.
    func conversation(
        _ messages: [ChatMessage], calling tools: [JSON], addGenerationPrompt: Bool
    ) throws(MoruError) -> (text: String, tokens: [Int32]) {
        if chatTemplate?.source.contains("tool") == true {
            return try prompt(
                for: messages, addGenerationPrompt: addGenerationPrompt, tools: tools.isEmpty ? nil : tools)
        }
        var messages = messages.map(\.withoutTools)
        if !tools.isEmpty {
            let instructions = ToolCallFormat.instructions(tools: tools)
            if messages.first?.role == "system" {
                messages[0].content += "\n\n" + instructions
            } else {
                messages.insert(ChatMessage(role: "system", content: instructions), at: 0)
            }
        }
        return try prompt(for: messages, addGenerationPrompt: addGenerationPrompt)
    }
}

extension ChatMessage {
    /// The message for a template that does not know of tools: its calls, or the result that it is, as text.
    fileprivate var withoutTools: ChatMessage {
        var message = self
        if let calls = extra["tool_calls"]?.array {
            let texts = calls.compactMap { $0["function"] }.map { "<tool_call>\n\($0.text())\n</tool_call>" }
            message.content = ([content] + texts).filter { !$0.isEmpty }.joined(separator: "\n")
            message.extra["tool_calls"] = nil
        }
        if role == "tool" {
            message = ChatMessage(role: "user", content: "<tool_response>\n\(content)\n</tool_response>")
        }
        return message
    }
}
