import MoruBase
import MoruText

/// The body of `POST /tokenize`, as vLLM has it: a text or a conversation.
struct TokenizeRequest: Sendable {
    /// What is to be tokenized.
    enum Content: Sendable {
        /// `prompt`.
        case text(String)
        /// `messages` and `tools`, with the opening of the assistant's turn (`add_generation_prompt`) or without the
        /// end of the last message (`continue_final_message`).
        case conversation([ChatMessage], tools: [JSON], addsGenerationPrompt: Bool, continuesLast: Bool)
    }

    var content: Content
    /// Whether to add the special tokens that the model's prompts have. A chat template writes them itself.
    var addsSpecialTokens: Bool
    /// Whether the answer has the tokens as they are in the vocabulary, too.
    var returnsStrings: Bool

    /// Reads the body, but for the model.
    init(_ request: inout RequestObject) throws(APIError) {
        let prompt = try request.string("prompt")
        if request.value("messages") == nil {
            guard let prompt else { throw .missing("prompt") }
            content = .text(prompt)
        } else {
            if prompt != nil { throw .wrongValue("messages", "and 'prompt' exclude each other; send one of them") }
            let messages = try ChatCompletionRequest.messages(&request)
            let tools = try ToolFields(&request).tools
            let continuesLast = try request.bool("continue_final_message") ?? false
            let addsGenerationPrompt = try request.bool("add_generation_prompt") ?? true
            // The default of one gives way to the other, as long as nobody asks for both
            if continuesLast, request.value("add_generation_prompt") != nil, addsGenerationPrompt {
                throw .wrongValue(
                    "continue_final_message", "and 'add_generation_prompt' exclude each other; send one of them")
            }
            content = .conversation(
                messages, tools: tools, addsGenerationPrompt: addsGenerationPrompt && !continuesLast,
                continuesLast: continuesLast)
            try request.refuse("chat_template", "conversations are written with the model's own template")
            try request.refuse(
                "chat_template_kwargs", unless: [[:]], "templates are given what chat completions give them")
            try request.refuse("mm_processor_kwargs", unless: [[:]], "messages are text")
        }
        let isText = if case .text = content { true } else { false }
        addsSpecialTokens = try request.bool("add_special_tokens") ?? isText
        returnsStrings = try request.bool("return_token_strs") ?? false
        try request.finish()
    }

    /// The tokens.
    ///
    /// - Throws: ``APIError`` where a conversation is asked of a model that generates nothing, or its template refuses
    ///   it.
    func ids(with model: ServedModel) throws(APIError) -> [Int32] {
        switch content {
        case .text(let text): return model.tokenizer.encode(text, addSpecialTokens: addsSpecialTokens)
        case .conversation(let messages, let tools, let addsGenerationPrompt, let continuesLast):
            let pretrained = try model.generating().generator.pretrained
            var conversation: (text: String, tokens: [Int32])
            do throws(MoruError) {
                conversation = try pretrained.conversation(
                    messages, calling: tools, addGenerationPrompt: addsGenerationPrompt)
            } catch {
                throw APIError(error, param: "messages")
            }
            guard continuesLast || addsSpecialTokens else { return conversation.tokens }
            if continuesLast {
                conversation.text = try Self.cut(conversation.text, after: messages.last?.content ?? "")
            }
            return model.tokenizer.encode(
                conversation.text, addSpecialTokens: addsSpecialTokens, parseSpecial: true)
        }
    }

    /// A conversation up to the end of its last message's content, of which templates may have trimmed white space.
    private static func cut(_ text: String, after content: String) throws(APIError) -> String {
        let trimmed = content.trimmingWhitespace()
        guard !trimmed.isEmpty, let place = text.ranges(of: trimmed).last else {
            throw .wrongValue(
                "continue_final_message",
                "cannot be true: the model's template does not write the last message as it is")
        }
        let trailing = content.drop(while: \.isWhitespace).dropFirst(trimmed.count)
        let rest = text[place.upperBound...]
        return String(text[..<place.upperBound]) + (rest.hasPrefix(trailing) ? trailing : "")
    }
}
