import MoruBase
import MoruEngine
import MoruText
import NIOCore

/// How an answer is written: the difference between the endpoints that generate.
protocol AnswerFormat: Sendable {
    /// The whole answer.
    func answer(_ choices: [CollectedChoice], _ usage: TokenUsage) -> JSON
    /// What writes it as an event stream.
    ///
    /// - Parameter includingUsage: Whether a stream that need not say what it cost does.
    func frames(includingUsage: Bool) -> any AnswerFrames
}

/// An answer that is written in chunks which look like it.
protocol ChunkFormat: AnswerFormat {
    /// The chunk that opens a choice, if there is one.
    func opening(of index: Int) -> JSON?
    /// A chunk with the next piece of a choice.
    func chunk(_ index: Int, _ piece: ChoicePiece) -> JSON
    /// A chunk with a call of a function.
    func chunk(_ index: Int, _ call: ToolCall, number: Int) -> JSON
    /// The last chunk of a choice.
    func closing(of index: Int, _ reason: FinishReason, hasCalls: Bool) -> JSON
    /// The chunk after all choices that says what they cost.
    func usageChunk(_ usage: TokenUsage) -> JSON
    /// The frame that ends a stream, if there is one.
    var ending: ByteBuffer? { get }
    /// What a stream ends with when answering fails.
    func failure(_ error: APIError) -> JSON
}

extension ChunkFormat {
    var ending: ByteBuffer? { ServerSentEvents.done }

    func failure(_ error: APIError) -> JSON { error.json }

    func frames(includingUsage: Bool) -> any AnswerFrames { ChunkFrames(self, includesUsage: includingUsage) }
}

/// Chat completions.
struct ChatCompletionFormat: ChunkFormat {
    let head: AnswerHead
    let hasScores: Bool

    func answer(_ choices: [CollectedChoice], _ usage: TokenUsage) -> JSON {
        let choices = choices.map { choice -> JSON in
            var message = JSONObject([("role", "assistant"), ("content", .string(choice.text)), ("refusal", nil)])
            if !choice.calls.isEmpty {
                if choice.text.isEmpty { message["content"] = .null }
                message["tool_calls"] = .array(choice.calls.map(\.json))
            }
            return [
                "index": .int(choice.index), "message": .object(message),
                "logprobs": hasScores ? choice.tokens.chatJSON : .null,
                "finish_reason": .string(choice.reason.name(hasCalls: !choice.calls.isEmpty)),
            ]
        }
        return head.object("chat.completion", [("choices", .array(choices)), ("usage", usage.json)])
    }

    func opening(of index: Int) -> JSON? { chunk(index, ["role": "assistant", "content": ""]) }

    func chunk(_ index: Int, _ piece: ChoicePiece) -> JSON {
        chunk(index, ["content": .string(piece.text)], logprobs: hasScores ? piece.tokens.chatJSON : .null)
    }

    func chunk(_ index: Int, _ call: ToolCall, number: Int) -> JSON {
        var object = JSONObject([("index", .int(number))])
        for (key, value) in (call.json.object ?? JSONObject()).members { object[key] = value }
        return chunk(index, ["tool_calls": [.object(object)]])
    }

    func closing(of index: Int, _ reason: FinishReason, hasCalls: Bool) -> JSON {
        chunk(index, [:], reason: .string(reason.name(hasCalls: hasCalls)))
    }

    func usageChunk(_ usage: TokenUsage) -> JSON {
        head.object("chat.completion.chunk", [("choices", []), ("usage", usage.json)])
    }

    private func chunk(_ index: Int, _ delta: JSON, logprobs: JSON = .null, reason: JSON = .null) -> JSON {
        let choice: JSON = ["index": .int(index), "delta": delta, "logprobs": logprobs, "finish_reason": reason]
        return head.object("chat.completion.chunk", [("choices", [choice])])
    }
}

/// Completions.
struct CompletionFormat: ChunkFormat {
    let head: AnswerHead
    let hasScores: Bool

    func answer(_ choices: [CollectedChoice], _ usage: TokenUsage) -> JSON {
        let choices = choices.map {
            choice($0.index, $0.text, $0.tokens, reason: .string($0.reason.name))
        }
        return head.object("text_completion", [("choices", .array(choices)), ("usage", usage.json)])
    }

    func opening(of index: Int) -> JSON? { nil }

    func chunk(_ index: Int, _ piece: ChoicePiece) -> JSON {
        chunk(choice(index, piece.text, piece.tokens, reason: .null))
    }

    // Completions have no tools
    func chunk(_ index: Int, _ call: ToolCall, number: Int) -> JSON { chunk(index, ChoicePiece(text: "", tokens: [])) }

    func closing(of index: Int, _ reason: FinishReason, hasCalls: Bool) -> JSON {
        chunk(choice(index, "", nil, reason: .string(reason.name)))
    }

    func usageChunk(_ usage: TokenUsage) -> JSON {
        head.object("text_completion", [("choices", []), ("usage", usage.json)])
    }

    private func chunk(_ choice: JSON) -> JSON { head.object("text_completion", [("choices", [choice])]) }

    private func choice(_ index: Int, _ text: String, _ tokens: [ScoredToken]?, reason: JSON) -> JSON {
        let logprobs = hasScores ? tokens?.completionJSON ?? .null : .null
        return ["index": .int(index), "text": .string(text), "logprobs": logprobs, "finish_reason": reason]
    }
}

extension ToolCall {
    /// The call as OpenAI's API gives it: its arguments as text.
    fileprivate var json: JSON {
        [
            "id": .string(id ?? ""), "type": "function",
            "function": ["name": .string(name), "arguments": .string(arguments.text())],
        ]
    }
}

extension FinishReason {
    /// The reason as OpenAI's API names it, for an answer with or without calls of functions.
    fileprivate func name(hasCalls: Bool) -> String { hasCalls && name == "stop" ? "tool_calls" : name }
}
