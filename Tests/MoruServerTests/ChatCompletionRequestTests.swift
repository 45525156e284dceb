import MoruBase
import MoruEngine
import Testing

@testable import MoruServer

/// A body with the fields that must be there, and some more.
private func body(_ more: String = "") throws -> JSON {
    let fields = #""model": "m", "messages": [{"role": "user", "content": "Hi"}]"#
    return try JSON.parse("{\(fields)\(more.isEmpty ? "" : ", " + more)}", source: "test")
}

@Suite struct ChatCompletionRequestTests {
    @Test func readsEveryField() throws {
        let request = try ChatCompletionRequest(
            body(
                """
                "temperature": 0.5, "top_p": 0.9, "top_k": 40, "min_p": 0.05, "repetition_penalty": 1.1,
                "presence_penalty": -1, "frequency_penalty": 0.25, "logit_bias": {"5": -100, "7": 1.5}, "seed": -3,
                "n": 2, "stop": ["a", "b"], "stream": true, "stream_options": {"include_usage": true}, "echo": true,
                "logprobs": true, "top_logprobs": 3, "max_completion_tokens": 9, "ignore_eos": true,
                "cache_prompt": false
                """))
        let sampling = request.fields.sampling
        #expect(request.fields.model == "m")
        #expect(sampling.temperature == 0.5 && sampling.topP == 0.9 && sampling.topK == 40)
        #expect(sampling.minP == 0.05 && sampling.repetitionPenalty == 1.1)
        #expect(sampling.presencePenalty == -1 && sampling.frequencyPenalty == 0.25)
        #expect(sampling.logitBias == [5: -100, 7: 1.5])
        #expect(sampling.seed == UInt64(bitPattern: -3))
        #expect(request.fields.choiceCount == 2 && request.fields.stop == ["a", "b"])
        #expect(request.fields.streams && request.fields.includesUsage && request.fields.echo)
        #expect(request.fields.ignoresEnd && !request.fields.reusesPrefixes)
        #expect(request.logProbabilities == 3 && request.maximumTokens == 9)
        #expect(request.messages.map(\.role) == ["user"] && request.messages.map(\.content) == ["Hi"])
    }

    @Test func leavesAbsentFieldsToTheModel() throws {
        let request = try ChatCompletionRequest(body())
        #expect(request.fields.sampling == SamplingFields())
        #expect(request.maximumTokens == nil && request.logProbabilities == nil)
        #expect(request.fields.choiceCount == 1 && request.fields.stop.isEmpty && !request.fields.streams)
        #expect(!request.fields.ignoresEnd && request.fields.reusesPrefixes)
    }

    @Test(arguments: [
        #""user": "u""#, #""metadata": {"a": "b"}"#, #""store": false"#, #""service_tier": "auto""#,
        #""parallel_tool_calls": true"#, #""tools": []"#, #""tool_choice": "none""#,
        #""response_format": {"type": "text"}"#, #""modalities": ["text"]"#, #""safety_identifier": "x""#,
        #""temperature": null, "stop": null, "seed": null, "logit_bias": null, "tools": null, "n": null"#,
        #""max_tokens": 5, "max_completion_tokens": 5"#, #""stop": "x""#, #""top_k": -1"#,
        #""stream": true, "stream_options": {"include_obfuscation": false}"#,
    ])
    func takesWhatChangesNothing(fields: String) throws {
        #expect(throws: Never.self) { try ChatCompletionRequest(body(fields)) }
    }

    @Test(arguments: [
        (#""temperture": 1"#, "temperture", "unknown_parameter"),
        (#""temperature": 2.5"#, "temperature", "invalid_value"),
        (#""temperature": "1""#, "temperature", "invalid_type"),
        (#""top_p": 0"#, "top_p", "invalid_value"),
        (#""top_k": -2"#, "top_k", "invalid_value"),
        (#""min_p": 1.5"#, "min_p", "invalid_value"),
        (#""repetition_penalty": 0"#, "repetition_penalty", "invalid_value"),
        (#""presence_penalty": 3"#, "presence_penalty", "invalid_value"),
        (#""logit_bias": {"x": 1}"#, "logit_bias", "invalid_value"),
        (#""logit_bias": {"5": 101}"#, "logit_bias.5", "invalid_value"),
        (#""logit_bias": [1]"#, "logit_bias", "invalid_type"),
        (#""seed": 1.5"#, "seed", "invalid_type"),
        (#""n": 0"#, "n", "invalid_value"),
        (#""n": 129"#, "n", "invalid_value"),
        (#""stop": ["a", "b", "c", "d", "e"]"#, "stop", "invalid_value"),
        (#""stop": ["a", 1]"#, "stop[1]", "invalid_type"),
        (#""stop": """#, "stop", "invalid_value"),
        (#""stream": 1"#, "stream", "invalid_type"),
        (#""stream_options": {"include_usage": true}"#, "stream_options", "invalid_value"),
        (#""stream": true, "stream_options": {"usage": true}"#, "stream_options.usage", "unknown_parameter"),
        (#""max_tokens": 0"#, "max_tokens", "invalid_value"),
        (#""max_tokens": 5, "max_completion_tokens": 6"#, "max_tokens", "invalid_value"),
        (#""top_logprobs": 2"#, "top_logprobs", "invalid_value"),
        (#""logprobs": true, "top_logprobs": 21"#, "top_logprobs", "invalid_value"),
        (#""logprobs": 1"#, "logprobs", "invalid_type"),
        (#""store": true"#, "store", "unsupported_parameter"),
        (#""service_tier": "flex""#, "service_tier", "unsupported_parameter"),
        (#""tools": [{"type": "function"}]"#, "tools[0].function", "missing_required_parameter"),
        (#""tools": [{"type": "search"}]"#, "tools[0].type", "unsupported_value"),
        (#""tool_choice": "required""#, "tool_choice", "invalid_value"),
        (
            #""tool_choice": {"type": "function", "function": {"name": "f"}}"#, "tool_choice.function.name",
            "invalid_value"
        ),
        (#""functions": [{"name": "f"}]"#, "functions", "unsupported_parameter"),
        (#""response_format": {"type": "xml"}"#, "response_format.type", "invalid_value"),
        (#""response_format": {"type": "json"}"#, "response_format.value", "missing_required_parameter"),
        (#""response_format": {"type": "regex"}"#, "response_format.value", "missing_required_parameter"),
        (#""response_format": {"type": "json_schema"}"#, "response_format.json_schema", "missing_required_parameter"),
        (
            #""response_format": {"type": "json_object", "schema": {}, "value": {}}"#, "response_format.value",
            "unknown_parameter"
        ),
        (#""response_format": {"type": "text", "schema": {}}"#, "response_format.schema", "unknown_parameter"),
        (#""guided_choice": []"#, "guided_choice", "invalid_type"),
        (#""guided_regex": "a", "guided_choice": ["a"]"#, "guided_choice", "invalid_value"),
        (
            #""grammar": "root ::= [a]", "structured_outputs": {"regex": "a"}"#, "structured_outputs.regex",
            "invalid_value"
        ),
        (#""structured_outputs": {"choice": [1]}"#, "structured_outputs.choice", "invalid_type"),
        (#""structured_outputs": {"json": "{"}"#, "structured_outputs.json", "malformed_json"),
        (#""structured_outputs": {"structural_tag": "x"}"#, "structured_outputs.structural_tag", "unknown_parameter"),
        (
            #""structured_outputs": {"json": {}, "disable_any_whitespace": true}"#,
            "structured_outputs.disable_any_whitespace", "unsupported_parameter"
        ),
        (#""reasoning_effort": "low""#, "reasoning_effort", "unsupported_parameter"),
        (#""audio": {}"#, "audio", "unsupported_parameter"),
    ])
    func refusesByName(fields: String, param: String, code: String) throws {
        let error = try #require(throws: APIError.self) { try ChatCompletionRequest(body(fields)) }
        #expect(error.param == param)
        #expect(error.code == code)
        #expect(error.status == .badRequest && error.type == "invalid_request_error")
        #expect(error.message.contains(param), "\(error.message)")
    }

    @Test(arguments: [
        (#""structured_outputs": {"regex": "a+"}"#, StructuredOutput.regex("a+")),
        (#""structured_outputs": {"choice": ["a", "b"], "disable_fallback": true}"#, .choice(["a", "b"])),
        (#""structured_outputs": {"json": {"type": "null"}}"#, .jsonSchema(["type": "null"])),
        (#""structured_outputs": {"json_object": true}"#, .jsonObject),
        (#""structured_outputs": {"grammar": "root ::= [a]"}"#, .gbnf("root ::= [a]")),
        (#""guided_json": "{\"type\": \"null\"}""#, .jsonSchema(["type": "null"])),
        (#""json_schema": {"type": "null"}"#, .jsonSchema(["type": "null"])),
        (#""grammar": "root ::= [a]""#, .gbnf("root ::= [a]")),
        (#""response_format": {"type": "json_object", "schema": {"type": "null"}}"#, .jsonSchema(["type": "null"])),
        (#""response_format": {"type": "json_schema", "schema": {"type": "null"}}"#, .jsonSchema(["type": "null"])),
        (#""response_format": {"type": "json_object", "value": {"type": "null"}}"#, .jsonSchema(["type": "null"])),
        (#""response_format": {"type": "json", "value": {"type": "null"}}"#, .jsonSchema(["type": "null"])),
        (
            #""response_format": {"type": "json_schema", "value": {"name": "n", "schema": {"type": "null"}}}"#,
            .jsonSchema(["type": "null"])
        ),
        (#""response_format": {"type": "regex", "value": "a+"}"#, .regex("a+")),
    ])
    func readsEachName(fields: String, structure: StructuredOutput) throws {
        #expect(try ChatCompletionRequest(body(fields)).fields.structure.structure == structure)
    }

    @Test func suggestsTheNearestField() throws {
        let error = try #require(throws: APIError.self) { try ChatCompletionRequest(body(#""temperture": 1"#)) }
        #expect(error.message == "Unknown parameter 'temperture'. Did you mean 'temperature'?")
    }

    @Test(arguments: [
        (#"{"model": 1, "messages": []}"#, "model", "invalid_type"),
        (#"{"model": "m"}"#, "messages", "missing_required_parameter"),
        (#"{"model": "m", "messages": []}"#, "messages", "invalid_value"),
        (#"{"model": "m", "messages": "Hi"}"#, "messages", "invalid_type"),
        (#"{"model": "m", "messages": ["Hi"]}"#, "messages[0]", "invalid_type"),
        (#"{"model": "m", "messages": [{"content": "Hi"}]}"#, "messages[0].role", "missing_required_parameter"),
        (#"{"model": "m", "messages": [{"role": "bot", "content": "Hi"}]}"#, "messages[0].role", "invalid_value"),
        (
            #"{"model": "m", "messages": [{"role": "tool", "content": "Hi"}]}"#, "messages[0].tool_call_id",
            "missing_required_parameter"
        ),
        (#"{"model": "m", "messages": [{"role": "user"}]}"#, "messages[0].content", "missing_required_parameter"),
        (#"{"model": "m", "messages": [{"role": "user", "content": 1}]}"#, "messages[0].content", "invalid_type"),
        (
            #"{"model": "m", "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]}"#,
            "messages[0].content[0].type", "unsupported_value"
        ),
        (
            #"{"model": "m", "messages": [{"role": "user", "content": [{"type": "text"}]}]}"#,
            "messages[0].content[0].text", "missing_required_parameter"
        ),
        (
            #"{"model": "m", "messages": [{"role": "user", "content": "Hi", "colour": 1}]}"#,
            "messages[0].colour", "unknown_parameter"
        ),
        (
            #"{"model": "m", "messages": [{"role": "assistant", "content": "", "tool_calls": [{}]}]}"#,
            "messages[0].tool_calls[0].id", "missing_required_parameter"
        ),
    ])
    func refusesMessages(body: String, param: String, code: String) throws {
        let json = try JSON.parse(body, source: "test")
        let error = try #require(throws: APIError.self) { try ChatCompletionRequest(json) }
        #expect(error.param == param)
        #expect(error.code == code)
    }

    @Test func readsMessages() throws {
        let json = try JSON.parse(
            """
            {"model": "m", "messages": [
              {"role": "developer", "content": "Be brief."},
              {"role": "user", "content": [{"type": "text", "text": "One"}, {"type": "text", "text": " two"}]},
              {"role": "assistant", "content": "Three", "refusal": null, "annotations": [], "tool_calls": null,
               "audio": null, "function_call": null},
              {"role": "user", "content": "Four", "name": "ada"}
            ]}
            """, source: "test")
        let messages = try ChatCompletionRequest(json).messages
        #expect(messages.map(\.role) == ["system", "user", "assistant", "user"])
        #expect(messages.map(\.content) == ["Be brief.", "One two", "Three", "Four"])
        #expect(messages[3].extra["name"] == "ada")
    }

    @Test func refusesWhatIsNoObject() throws {
        let error = try #require(throws: APIError.self) { try ChatCompletionRequest([1, 2]) }
        #expect(error.code == "invalid_type" && error.param == nil)
        #expect(error.message == "The request body must be an object, not an array.")
    }
}
