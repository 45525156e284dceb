import MoruBase
import Testing

@testable import MoruServer

private func request(_ fields: String) throws -> ResponsesRequest {
    try ResponsesRequest(JSON.parse("{\"model\": \"m\", \(fields)}", source: "test"))
}

@Suite struct ResponsesRequestTests {
    @Test func readsText() throws {
        let request = try request(#""input": "Hi", "instructions": "Be brief.", "max_output_tokens": 5, "user": "u""#)
        #expect(request.messages.map(\.role) == ["system", "user"])
        #expect(request.messages.map(\.content) == ["Be brief.", "Hi"])
        #expect(request.maximumTokens == 5 && request.fields.client == "u" && request.logProbabilities == nil)
        #expect(request.echoed["instructions"] == "Be brief." && request.echoed["store"] == false)
        #expect(request.echoed["text"] == ["format": ["type": "text"]] && request.echoed["tool_choice"] == "auto")
    }

    @Test func readsItems() throws {
        let request = try request(
            """
            "input": [
              {"role": "developer", "content": [{"type": "input_text", "text": "Be "}, {"type": "input_text", "text": "brief."}]},
              {"type": "message", "role": "user", "content": "Rome and Oslo?"},
              {"type": "message", "id": "msg_1", "status": "completed", "role": "assistant", "phase": "commentary",
               "content": [{"type": "output_text", "text": "I look.", "annotations": [], "logprobs": []}]},
              {"type": "function_call", "id": "fc_1", "call_id": "a", "name": "weather", "arguments": "{\\"city\\": \\"Rome\\"}"},
              {"type": "function_call", "call_id": "b", "name": "weather", "arguments": "{\\"city\\": \\"Oslo\\"}"},
              {"type": "function_call_output", "call_id": "a", "output": "hot"},
              {"type": "function_call_output", "call_id": "b", "output": [{"type": "input_text", "text": "cold"}]}
            ]
            """)
        #expect(request.messages.map(\.role) == ["system", "user", "assistant", "tool", "tool"])
        #expect(request.messages.map(\.content) == ["Be brief.", "Rome and Oslo?", "I look.", "hot", "cold"])
        let calls = try #require(request.messages[2].extra["tool_calls"]?.array)
        #expect(calls.map { $0["id"]?.string } == ["a", "b"])
        #expect(calls.map { $0["function"]?["arguments"] } == [["city": "Rome"], ["city": "Oslo"]])
        #expect(request.messages[4].extra["tool_call_id"] == "b")
    }

    @Test("text after a call is the same turn's")
    func joinsCallAndText() throws {
        let call = #"{"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}"}"#
        let text = #"{"role": "assistant", "content": "Done."}"#
        let messages = try request(#""input": [{"role": "user", "content": "Do"}, \#(call), \#(text)]"#).messages
        #expect(messages.map(\.content) == ["Do", "Done."] && messages[1].extra["tool_calls"]?.array?.count == 1)
    }

    @Test func readsToolsAndForms() throws {
        let tool = #"{"type": "function", "name": "f", "strict": true, "parameters": {"type": "object"}}"#
        let request = try request(
            #""input": "Hi", "tools": [\#(tool)], "tool_choice": {"type": "function", "name": "f"}, "parallel_tool_calls": false"#
        )
        #expect(request.tools.required.map(\.name) == ["f"] && !request.tools.allowsSeveral)
        #expect(
            request.tools.tools == [
                ["type": "function", "function": ["name": "f", "parameters": ["type": "object"]]]
            ])
        #expect(request.echoed["tools"]?[0]?["strict"] == true)
        let form =
            #""text": {"format": {"type": "json_schema", "name": "n", "strict": true, "schema": {"type": "object"}}}"#
        let formed = try MoruServerTests.request(#""input": "Hi", \#(form)"#)
        #expect(formed.fields.structure.structure == .jsonSchema(["type": "object"]))
        #expect(formed.fields.structure.param == "text.format")
        let scored = try MoruServerTests.request(
            #""input": "Hi", "include": ["message.output_text.logprobs"], "top_logprobs": 3"#)
        #expect(scored.logProbabilities == 3)
    }

    @Test(arguments: [
        #""store": false"#, #""background": false"#, #""truncation": "disabled""#, #""include": []"#,
        #""reasoning": {"effort": null}"#, #""metadata": {"a": "b"}"#, #""previous_response_id": null"#,
        #""text": {"format": {"type": "text"}, "verbosity": "medium"}"#, #""service_tier": "auto""#,
        #""top_logprobs": 0"#,
        #""stream": true, "stream_options": {"include_obfuscation": false}"#, #""stop": "x", "seed": 1, "top_k": 3"#,
    ])
    func takesWhatChangesNothing(fields: String) throws {
        #expect(throws: Never.self) { try request(#""input": "Hi", "# + fields) }
    }

    @Test(arguments: [
        (#""instructions": "Hi""#, "input", "missing_required_parameter"),
        (#""input": """#, "input", "invalid_value"),
        (#""input": []"#, "input", "invalid_value"),
        (#""input": [{"type": "reasoning", "id": "r"}]"#, "input[0].type", "unsupported_value"),
        (#""input": [{"type": "item_reference", "id": "r"}]"#, "input[0].type", "unsupported_value"),
        (#""input": [{"role": "tool", "content": "x"}]"#, "input[0].role", "invalid_value"),
        (#""input": [{"role": "user"}]"#, "input[0].content", "missing_required_parameter"),
        (
            #""input": [{"role": "user", "content": [{"type": "input_image"}]}]"#, "input[0].content[0].type",
            "unsupported_value"
        ),
        (
            #""input": [{"role": "user", "content": [{"type": "output_text", "text": "a"}]}]"#,
            "input[0].content[0].type", "unsupported_value"
        ),
        (#""input": [{"role": "user", "content": "a", "name": "b"}]"#, "input[0].name", "unknown_parameter"),
        (
            #""input": [{"type": "function_call_output", "call_id": "x", "output": "a"}]"#, "input[0].call_id",
            "invalid_value"
        ),
        (
            #""input": [{"type": "function_call", "call_id": "x", "name": "f", "arguments": "{"}]"#,
            "input[0].arguments", "malformed_json"
        ),
        (#""input": "Hi", "store": true"#, "store", "unsupported_parameter"),
        (#""input": "Hi", "previous_response_id": "resp_1""#, "previous_response_id", "unsupported_parameter"),
        (#""input": "Hi", "conversation": "conv_1""#, "conversation", "unsupported_parameter"),
        (#""input": "Hi", "background": true"#, "background", "unsupported_parameter"),
        (#""input": "Hi", "prompt": {"id": "p"}"#, "prompt", "unsupported_parameter"),
        (#""input": "Hi", "truncation": "auto""#, "truncation", "unsupported_parameter"),
        (#""input": "Hi", "reasoning": {"effort": "low"}"#, "reasoning.effort", "unsupported_parameter"),
        (#""input": "Hi", "max_tool_calls": 1"#, "max_tool_calls", "unsupported_parameter"),
        (#""input": "Hi", "max_tokens": 5"#, "max_tokens", "unsupported_parameter"),
        (#""input": "Hi", "max_output_tokens": 0"#, "max_output_tokens", "invalid_value"),
        (#""input": "Hi", "messages": []"#, "messages", "unsupported_parameter"),
        (#""input": "Hi", "response_format": {"type": "text"}"#, "response_format", "unsupported_parameter"),
        (#""input": "Hi", "text": {"verbosity": "low"}"#, "text.verbosity", "unsupported_parameter"),
        (#""input": "Hi", "text": {"format": {"type": "xml"}}"#, "text.format.type", "invalid_value"),
        (
            #""input": "Hi", "text": {"format": {"type": "json_schema", "name": "n"}}"#, "text.format.schema",
            "missing_required_parameter"
        ),
        (#""input": "Hi", "include": ["file_search_call.results"]"#, "include[0]", "unsupported_value"),
        (#""input": "Hi", "top_logprobs": 2"#, "top_logprobs", "invalid_value"),
        (#""input": "Hi", "tools": [{"type": "web_search"}]"#, "tools[0].type", "unsupported_value"),
        (#""input": "Hi", "tools": [{"type": "function"}]"#, "tools[0].name", "missing_required_parameter"),
        (#""input": "Hi", "tool_choice": {"type": "function", "name": "f"}"#, "tool_choice.name", "invalid_value"),
        (#""input": "Hi", "stream_options": {}"#, "stream_options", "invalid_value"),
        (#""input": "Hi", "instruction": "x""#, "instruction", "unknown_parameter"),
    ])
    func refusesByName(fields: String, param: String, code: String) throws {
        let error = try #require(throws: APIError.self) { try request(fields) }
        #expect(error.param == param && error.code == code, "\(error)")
        #expect(error.status == .badRequest && error.message.contains(param) || code == "malformed_json", "\(error)")
    }
}
