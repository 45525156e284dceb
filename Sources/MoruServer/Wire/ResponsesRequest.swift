import MoruBase
import MoruText

/// The body of `POST /v1/responses`, of which the stateless part is served: nothing of an answer is kept.
///
/// What needs a memory (`store`, `previous_response_id`, `conversation`, `background`, `prompt`) is refused by name, as is
/// what this server does not act on. `metadata`, `safety_identifier` and `prompt_cache_key` are given back as they came.
/// `stop`, `seed`, `top_k` and the other sampling fields of chat completions, and those of ``StructureFields``, are extensions.
struct ResponsesRequest: ConversationRequest {
    var fields: GenerationFields
    var messages: [ChatMessage]
    let messagesParam = "input"
    var tools: ToolFields
    var maximumTokens: Int?
    var logProbabilities: Int?
    /// What the response says again of its request.
    var echoed: JSONObject

    /// Reads the body.
    init(_ json: JSON) throws(APIError) {
        var request = try RequestObject(json)
        fields = try GenerationFields(response: &request)
        let instructions = try request.string("instructions")
        messages = try ResponseInputFields.messages(try request.required("input"))
        if let instructions { messages.insert(ChatMessage(role: "system", content: instructions), at: 0) }
        tools = try ToolFields(&request, .flat)
        try tools.check(against: fields.structure)
        maximumTokens = try request.int("max_output_tokens", in: 1...Int.max)
        logProbabilities = try Self.logProbabilities(&request)
        echoed = JSONObject()
        echoed["instructions"] = instructions.map { .string($0) } ?? .null
        echoed["max_output_tokens"] = maximumTokens.map { .int($0) } ?? .null
        for key in ["max_tool_calls", "previous_response_id"] { echoed[key] = .null }
        echoed["metadata"] = request.value("metadata") ?? [:]
        echoed["parallel_tool_calls"] = .bool(tools.allowsSeveral)
        for key in ["prompt_cache_key", "safety_identifier", "user"] { echoed[key] = request.value(key) ?? .null }
        echoed["reasoning"] = ["effort": nil, "summary": nil]
        echoed["service_tier"] = "default"
        echoed["store"] = false
        echoed["text"] = ["format": request.value("text")?["format"] ?? ["type": "text"]]
        echoed["tool_choice"] = request.value("tool_choice") ?? "auto"
        echoed["tools"] = request.value("tools") ?? []
        echoed["top_logprobs"] = .int(logProbabilities ?? 0)
        echoed["truncation"] = "disabled"
        try Self.refuseWhatNeedsMemory(&request)
        try Self.refuseUnsupported(&request)
        try request.finish()
    }

    /// `include` with `message.output_text.logprobs`, and `top_logprobs`.
    private static func logProbabilities(_ request: inout RequestObject) throws(APIError) -> Int? {
        let scores = "message.output_text.logprobs"
        var wanted = false
        if let value = request.value("include") {
            guard let elements = value.array else { throw .wrongType("include", expected: "an array", found: value) }
            for (position, element) in elements.enumerated() {
                guard element.string == scores else {
                    throw .unsupportedValue(
                        "include[\(position)]", "is \(element.text()), and the only thing to include is '\(scores)'")
                }
                wanted = true
            }
        }
        let top = try request.int("top_logprobs", in: 0...GenerationFields.maximumAlternatives) ?? 0
        if top > 0, !wanted {
            throw .wrongValue("top_logprobs", "is only allowed with 'include': [\"\(scores)\"]")
        }
        return wanted ? top : nil
    }

    private static func refuseWhatNeedsMemory(_ request: inout RequestObject) throws(APIError) {
        let conversation = "answers are not stored; send the conversation so far as 'input'"
        try request.refuse("previous_response_id", conversation)
        try request.refuse("conversation", conversation)
        try request.refuse("background", unless: [false], "answers are given at once; leave it out or send false")
        try request.refuse("prompt", "prompts are not stored; send 'instructions' and 'input'")
        try request.refuse("context_management", "nothing of a conversation is kept; send what counts as 'input'")
    }

    private static func refuseUnsupported(_ request: inout RequestObject) throws(APIError) {
        if let value = request.value("reasoning") {
            var reasoning = try RequestObject(value, path: "reasoning")
            for key in ["effort", "summary", "generate_summary"] {
                try reasoning.refuse(key, "the model decides itself; leave it out")
            }
            try reasoning.finish()
        }
        try request.refuse(
            "truncation", unless: ["disabled"], "nothing is left out in silence; shorten 'input', or leave it out")
        try request.refuse("max_tool_calls", "functions are called by the client, who counts; leave it out")
        try request.refuse("moderation", "ask /v1/moderations, or leave it out")
        try request.refuse("prompt_cache_options", "prompts are shared as they are; leave it out")
        try request.refuse("prompt_cache_retention", "prompts are not kept for a time; leave it out")
        try request.refuse("n", unless: [1], "a response is one answer; ask again, or use chat completions")
        for (key, name) in [
            ("messages", "input"), ("max_tokens", "max_output_tokens"), ("max_completion_tokens", "max_output_tokens"),
            ("response_format", "text.format"), ("logprobs", "include"),
        ] {
            try request.refuse(key, "it belongs to chat completions; use '\(name)'")
        }
    }
}
