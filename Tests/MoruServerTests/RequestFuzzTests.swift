import MoruBase
import Testing

@testable import MoruServer

/// Bodies with arbitrary values in arbitrary places are read or refused, and a refusal names a field that is there or
/// one that is missing.
@Suite struct RequestFuzzTests {
    private static let chat = """
        {"model": "m", "messages": [{"role": "user", "content": [{"type": "text", "text": "a"}], "name": "n"}],
         "temperature": 1, "top_p": 0.5, "top_k": 3, "min_p": 0.1, "repetition_penalty": 1.5, "presence_penalty": 1,
         "frequency_penalty": -1, "logit_bias": {"1": 2}, "seed": 5, "n": 2, "stop": ["a"], "stream": true,
         "stream_options": {"include_usage": true}, "echo": true, "logprobs": true, "top_logprobs": 2,
         "max_tokens": 5, "max_completion_tokens": 5, "response_format": {"type": "text"}, "tools": [],
         "store": false, "service_tier": "auto", "metadata": {"a": "b"}}
        """
    private static let completion = """
        {"model": "m", "prompt": [[1, 2], [3]], "temperature": 1, "logit_bias": {"1": 2}, "seed": 5, "n": 2,
         "stop": "a", "stream": true, "stream_options": {"include_usage": false}, "echo": true, "logprobs": 2,
         "max_tokens": 0, "ignore_eos": true, "cache_prompt": false, "suffix": "", "best_of": null}
        """
    private static let response = """
        {"model": "m", "instructions": "b", "input": [{"role": "user", "content": [{"type": "input_text", "text": "a"}]},
          {"type": "function_call", "id": "i", "call_id": "c", "name": "f", "arguments": "{}", "status": "completed"},
          {"type": "function_call_output", "call_id": "c", "output": "o"}],
         "temperature": 1, "stop": ["a"], "stream": true, "stream_options": {"include_obfuscation": false},
         "max_output_tokens": 5, "text": {"format": {"type": "json_schema", "name": "n", "schema": {}}},
         "tools": [{"type": "function", "name": "f", "parameters": {}}], "tool_choice": "auto", "store": false,
         "include": ["message.output_text.logprobs"], "top_logprobs": 2, "reasoning": {"effort": null}, "background": false}
        """
    private static let embedding = """
        {"model": "m", "input": [[1, 2], [3]], "encoding_format": "base64", "dimensions": 8, "user": "u",
         "prompt_name": "query", "truncate_prompt_tokens": -1, "add_special_tokens": false}
        """
    private static let classification = """
        {"model": "m", "input": ["a", "b"], "use_activation": true, "user": "u", "truncate_prompt_tokens": 5}
        """
    private static let moderation = """
        {"model": "m", "input": [{"type": "text", "text": "a"}]}
        """
    private static let score = """
        {"model": "m", "text_1": ["a", "b"], "text_2": ["c", "d"], "truncate_prompt_tokens": 5}
        """
    private static let ranking = """
        {"model": "m", "query": "a", "documents": ["a", {"text": "b"}], "top_n": 1, "return_documents": true,
         "rank_fields": ["text"]}
        """
    private static let readers: [(name: String, body: String, read: @Sendable (JSON) throws(APIError) -> Void)] = [
        ("chat", chat, { json throws(APIError) in _ = try ChatCompletionRequest(json) }),
        ("completion", completion, { json throws(APIError) in _ = try CompletionRequest(json) }),
        ("response", response, { json throws(APIError) in _ = try ResponsesRequest(json) }),
        ("embedding", embedding, { json throws(APIError) in _ = try EmbeddingRequest(json) }),
        ("classification", classification, { json throws(APIError) in _ = try ClassificationRequest(json) }),
        ("moderation", moderation, { json throws(APIError) in _ = try ModerationRequest(json) }),
        ("score", score, { json throws(APIError) in _ = try ScoreRequest(json) }),
        ("ranking", ranking, { json throws(APIError) in _ = try RerankRequest(json, returnsDocuments: true) }),
    ]
    private static let values: [JSON] = [
        nil, true, false, 0, -1, 1, 0.5, 1e300, -1e300, .int(.max), .int(.min), "", "a", "tool", "image_url", "é", [],
        [nil], [[]],
        ["a"], [1], [-1], [[1]], [[nil]], [["type": "text"]], [:], ["": nil], ["type": "text"], ["1": "a"],
    ]

    @Test func readsOrRefusesWhateverComes() throws {
        var generator = SplitMix64(seed: 1)
        var refusals: Set<String> = []
        for (name, body, read) in Self.readers {
            let base = try JSON.parse(body, source: name)
            try read(base)
            for _ in 0..<3000 {
                var json = base
                for _ in 0..<Int.random(in: 1...3, using: &generator) { json = mutated(json, &generator) }
                do throws(APIError) {
                    try read(json)
                } catch {
                    #expect(error.status == .badRequest && !error.message.isEmpty)
                    #expect(error.param != nil || json.object == nil)
                    refusals.insert(error.code)
                }
            }
        }
        #expect(
            refusals == [
                "invalid_type", "invalid_value", "malformed_json", "missing_required_parameter", "unknown_parameter",
                "unsupported_parameter", "unsupported_value",
            ])
    }

    /// The value with something in it exchanged, left out or added.
    private func mutated(_ json: JSON, _ generator: inout SplitMix64) -> JSON {
        let other = Self.values[Int.random(in: Self.values.indices, using: &generator)]
        switch json {
        case .object(var object) where !object.isEmpty && generator.next() % 16 != 0:
            let key = object.keys[Int.random(in: object.keys.indices, using: &generator)]
            switch generator.next() % 8 {
            case 0: object[key] = nil
            case 1: object[key + "x"] = other
            default: object[key] = object[key].map { mutated($0, &generator) }
            }
            return .object(object)
        case .array(var elements) where !elements.isEmpty && generator.next() % 4 != 0:
            let place = Int.random(in: elements.indices, using: &generator)
            elements[place] = mutated(elements[place], &generator)
            return .array(elements)
        default: return other
        }
    }
}
