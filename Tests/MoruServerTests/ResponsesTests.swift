import MoruBase
import MoruServer
import MoruTestKit
import Testing

/// `POST /v1/responses`, whole and in events.
@Suite(.tags(.live)) struct ResponsesTests {
    private func post(_ server: TestServer, _ fields: (String, JSON)...) async throws -> TestResponse {
        let base: [(String, JSON)] = [("model", "alphabet"), ("input", "Hi"), ("temperature", 0)]
        return try await server.post("/v1/responses", .object(JSONObject(base + fields)))
    }

    /// The values of a stream's frames, each with the name that its `event` line says.
    private func events(_ response: TestResponse) -> [JSON] {
        response.body.components(separatedBy: "\n\n").compactMap { frame in
            let lines = frame.split(separator: "\n")
            guard lines.count == 2, lines[0].hasPrefix("event: "), lines[1].hasPrefix("data: ") else { return nil }
            let json = try? JSON.parse(String(lines[1].dropFirst(6)), source: "event")
            return json?["type"]?.string == String(lines[0].dropFirst(7)) ? json : nil
        }
    }

    @Test func answersWhole() async throws {
        try await TestServer.run([try ServedModel.alphabet()]) { server in
            let answer = try await post(server, ("max_output_tokens", 3), ("metadata", ["a": "b"])).json
            #expect(answer["object"] == "response" && answer["id"]?.string?.hasPrefix("resp_") == true, "\(answer)")
            #expect(answer["status"] == "incomplete" && answer["incomplete_details"]?["reason"] == "max_output_tokens")
            let message = answer["output"]?[0]
            #expect(message?["type"] == "message" && message?["role"] == "assistant")
            #expect(message?["status"] == "incomplete" && message?["id"]?.string?.hasPrefix("msg_") == true)
            #expect(
                message?["content"] == [["type": "output_text", "text": "abc", "annotations": [], "logprobs": []]])
            #expect(
                answer["usage"]?["output_tokens"] == 3
                    && answer["usage"]?["output_tokens_details"]?["reasoning_tokens"] == 0)
            #expect(answer["metadata"] == ["a": "b"])
            #expect(answer["temperature"]?.double == 0 && answer["top_p"]?.double == 1)
            #expect(answer["max_output_tokens"] == 3 && answer.object?["error"] == .null)
            let stopped = try await post(server, ("stop", "d")).json
            #expect(stopped["status"] == "completed" && stopped.object?["incomplete_details"] == .null)
            #expect(stopped["output"]?[0]?["content"]?[0]?["text"] == "abc")
        }
    }

    @Test func answersInEvents() async throws {
        try await TestServer.run([try ServedModel.alphabet()]) { server in
            let response = try await post(server, ("stop", "d"), ("stream", true))
            #expect(response.headers["content-type"] == "text/event-stream; charset=utf-8")
            #expect(!response.body.contains("[DONE]"))
            let events = events(response)
            #expect(
                events.map { $0["type"]?.string } == [
                    "response.created", "response.in_progress", "response.output_item.added",
                    "response.content_part.added", "response.output_text.delta", "response.output_text.delta",
                    "response.output_text.delta", "response.output_text.done", "response.content_part.done",
                    "response.output_item.done", "response.completed",
                ], "\(response.body)")
            #expect(events.map { $0["sequence_number"]?.int } == Array(0..<11))
            #expect(events.compactMap { $0["delta"]?.string } == ["a", "b", "c"])
            #expect(events[0]["response"]?["status"] == "in_progress" && events[0]["response"]?["output"] == [])
            #expect(events[7]["text"] == "abc")
            let final = events[10]["response"]
            #expect(final?["output"]?[0] == events[9]["item"] && final?["status"] == "completed")
            #expect(final?["usage"]?["output_tokens"] == 4 && final?["usage"]?["total_tokens"]?.int ?? 0 > 4)
            #expect(Set(events.compactMap { $0["item_id"]?.string }) == [events[9]["item"]?["id"]?.string])
            #expect(Set(events.compactMap { $0["response"]?["id"]?.string }).count == 1)
        }
    }

    @Test(arguments: [false, true])
    func textAndCallsAreItems(streams: Bool) async throws {
        try await TestServer.run(try TestServer.tinyModels(contextLength: 1024)) { server in
            let call = #"<tool_call>{"name": "weather", "arguments": {"city": "Rome"}}</tool_call>"#
            let response = try await server.post(
                "/v1/responses",
                [
                    "model": "tiny", "input": "Rome?", "stream": .bool(streams),
                    "guided_choice": [.string("I look." + call + call)],
                    "tools": [["type": "function", "name": "weather"]],
                ])
            let events = events(response)
            let answer = streams ? events.last?["response"] ?? .null : response.json
            let output = answer["output"]?.array ?? []
            #expect(output.map { $0["type"]?.string } == ["message", "function_call", "function_call"], "\(response)")
            #expect(output.first?["content"]?[0]?["text"] == "I look.")
            #expect(
                output.dropFirst().allSatisfy {
                    $0["name"] == "weather" && $0["arguments"] == #"{"city": "Rome"}"#
                        || $0["arguments"] == #"{"city":"Rome"}"#
                }, "\(output)")
            #expect(Set(output.dropFirst().compactMap { $0["call_id"]?.string }).count == 2)
            #expect(answer["status"] == "completed" && answer["tools"]?[0]?["name"] == "weather")
            if streams {
                let done = events.filter { $0["type"] == "response.output_item.done" }
                #expect(Set(done.compactMap { $0["item"] }) == Set(output))
                let arguments = events.filter { $0["type"] == "response.function_call_arguments.done" }
                #expect(arguments.map { $0["output_index"]?.int } == [1, 2])
                #expect(arguments.first?["arguments"] == output[1]["arguments"])
                #expect(events.map { $0["sequence_number"]?.int } == Array(0..<events.count))
            }
            // What was answered can be sent back as it came, with the results
            let results = output.dropFirst().map { call -> JSON in
                ["type": "function_call_output", "call_id": call["call_id"] ?? .null, "output": "hot"]
            }
            let next = try await server.post(
                "/v1/responses",
                [
                    "model": "tiny", "input": .array([["role": "user", "content": "Rome?"]] + output + results),
                    "tools": [["type": "function", "name": "weather"]], "max_output_tokens": 2,
                ])
            #expect(next.status == 200, "\(next)")
        }
    }

    @Test func aCallThatIsRequiredKeepsToItsSchema() async throws {
        try await TestServer.run(try TestServer.tinyModels(contextLength: 1024)) { server in
            let schema: JSON = [
                "type": "object", "required": ["city"], "properties": ["city": ["enum": ["Rome"]]],
                "additionalProperties": false,
            ]
            let answer = try await server.post(
                "/v1/responses",
                [
                    "model": "tiny", "input": "Rome?", "tool_choice": ["type": "function", "name": "weather"],
                    "tools": [["type": "function", "name": "weather", "parameters": schema]],
                ])
            let output = answer.json["output"]?.array ?? []
            #expect(output.count == 1 && output[0]["type"] == "function_call", "\(answer)")
            let arguments = try JSON.parse(output[0]["arguments"]?.string ?? "", source: "arguments")
            #expect(arguments == ["city": "Rome"])
        }
    }

    @Test func scores() async throws {
        try await TestServer.run([try ServedModel.alphabet()]) { server in
            for streams in [false, true] {
                let response = try await post(
                    server, ("max_output_tokens", 2), ("include", ["message.output_text.logprobs"]),
                    ("top_logprobs", 2), ("stream", .bool(streams)))
                let answer = streams ? events(response).last?["response"] ?? .null : response.json
                let scores = answer["output"]?[0]?["content"]?[0]?["logprobs"]?.array ?? []
                #expect(scores.map { $0["token"]?.string } == ["a", "b"], "\(response)")
                #expect(scores.allSatisfy { $0["top_logprobs"]?.array?.count == 2 })
            }
        }
    }

    @Test func tellsOfAFailureInTheMiddle() async throws {
        // The template's text and the question are about twenty tokens
        try await TestServer.run([try ServedModel.alphabet(failsAt: 80)]) { server in
            let response = try await post(server, ("stream", true))
            let last = events(response).last
            #expect(last?["type"] == "response.failed" && last?["response"]?["status"] == "failed", "\(response)")
            #expect(last?["response"]?["error"]?["code"] == "server_error")
            let text = last?["response"]?["output"]?[0]?["content"]?[0]?["text"]?.string ?? ""
            #expect(text.hasPrefix("abc"))
            let whole = try await post(server)
            #expect(whole.status == 500 && whole.errorCode == "engine.logits-not-finite")
        }
    }

    @Test func refusesBeforeItAnswers() async throws {
        try await TestServer.run(try TestServer.tinyModels()) { server in
            for streams in [false, true] {
                let long = try await server.post(
                    "/v1/responses",
                    [
                        "model": "tiny", "input": .string(String(repeating: "a", count: 300)), "stream": .bool(streams),
                    ])
                #expect(long.status == 400 && long.errorCode == "context_length_exceeded" && long.errorParam == "input")
            }
            let missing = try await server.post("/v1/responses", ["model": "tini", "input": "a"])
            #expect(missing.status == 404 && missing.errorCode == "model_not_found")
            #expect(try await server.request("GET", "/v1/responses").status == 405)
        }
    }
}
