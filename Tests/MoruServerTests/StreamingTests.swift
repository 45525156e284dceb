import Foundation
import MoruBase
import MoruEngine
import MoruModels
import MoruServer
import MoruTestKit
import ServiceLifecycleTestKit
import Testing

@Suite(.tags(.live)) struct StreamingTests {
    private static let question: JSON = [["role": "user", "content": "Hi"]]

    /// A model that says the alphabet over and over, one letter in each step.
    private func alphabet(
        secondsPerStep: Double = 0, context: Int = 100_000, failsAt: Int? = nil
    ) throws -> ServedModel {
        try .alphabet(secondsPerStep: secondsPerStep, context: context, failsAt: failsAt)
    }

    @Test func framesAChat() async throws {
        try await TestServer.run([try alphabet()]) { server in
            let response = try await server.post(
                "/v1/chat/completions",
                [
                    "model": "alphabet", "messages": Self.question, "max_tokens": 3, "stream": true, "temperature": 0,
                    "stream_options": ["include_usage": true],
                ])
            #expect(response.headers["content-type"] == "text/event-stream; charset=utf-8")
            #expect(response.body.hasSuffix("\n\ndata: [DONE]\n\n"))
            let events = response.events
            let choices = events.compactMap { $0["choices"]?[0] }
            #expect(choices.first?["delta"] == ["role": "assistant", "content": ""])
            #expect(choices.dropFirst().compactMap { $0["delta"]?["content"]?.string } == ["a", "b", "c"])
            #expect(choices.last?["delta"] == [:] && choices.last?["finish_reason"] == "length")
            #expect(choices.dropLast().allSatisfy { $0.object?["finish_reason"] == .null })
            #expect(Set(events.compactMap { $0["id"]?.string }).count == 1)
            #expect(events.last?["choices"] == [] && events.last?["usage"]?["completion_tokens"] == 3)
            #expect(events.dropLast().allSatisfy { $0.object?["usage"] == .null })
            #expect(response.body.components(separatedBy: "\n\n").dropLast().allSatisfy { $0.hasPrefix("data: ") })
        }
    }

    @Test func framesACompletion() async throws {
        try await TestServer.run([try alphabet()]) { server in
            let response = try await server.post(
                "/v1/completions",
                [
                    "model": "alphabet", "prompt": "xyz", "max_tokens": 2, "stream": true, "echo": true, "logprobs": 0,
                    "temperature": 0,
                ])
            let choices = response.events.compactMap { $0["choices"]?[0] }
            #expect(choices.compactMap { $0["text"]?.string }.joined() == "xyzab")
            #expect(choices.flatMap { $0["logprobs"]?["text_offset"]?.ints ?? [] } == [0, 1, 2, 3, 4])
            #expect(choices.flatMap { $0["logprobs"]?["tokens"]?.array ?? [] } == ["x", "y", "z", "a", "b"])
            #expect(choices.last?["finish_reason"] == "length")
            #expect(response.events.allSatisfy { $0.object?["usage"] == nil })
        }
    }

    @Test func streamsSeveralChoices() async throws {
        try await TestServer.run([try alphabet()]) { server in
            let response = try await server.post(
                "/v1/chat/completions",
                [
                    "model": "alphabet", "messages": Self.question, "max_tokens": 5, "stream": true, "temperature": 0,
                    "n": 3, "stream_options": ["include_usage": true],
                ])
            for index in 0..<3 {
                let choices = response.events.compactMap { $0["choices"]?[0] }.filter { $0["index"] == .int(index) }
                #expect(choices.first?["delta"]?["role"] == "assistant")
                #expect(choices.compactMap { $0["delta"]?["content"]?.string }.joined() == "abcde")
                #expect(choices.compactMap { $0["finish_reason"] } == ["length"])
            }
            #expect(response.events.last?["usage"]?["completion_tokens"] == 15)
        }
    }

    @Test func stopsAtStopStringsAcrossTokens() async throws {
        try await TestServer.run([try alphabet()]) { server in
            for streams in [false, true] {
                let response = try await server.post(
                    "/v1/completions",
                    [
                        "model": "alphabet", "prompt": "z", "max_tokens": 20, "stop": ["def"], "temperature": 0,
                        "stream": .bool(streams),
                    ])
                let choices =
                    streams ? response.events.compactMap { $0["choices"]?[0] } : response.json["choices"]?.array ?? []
                #expect(choices.compactMap { $0["text"]?.string }.joined() == "abc", "\(response)")
                #expect(choices.last?["finish_reason"] == "stop")
            }
        }
    }

    @Test func tellsOfAFailureInTheMiddle() async throws {
        try await TestServer.run([try alphabet(failsAt: 5)]) { server in
            let body: [(String, JSON)] = [
                ("model", "alphabet"), ("prompt", "abc"), ("max_tokens", 10), ("temperature", 0),
            ]
            let streamed = try await server.post("/v1/completions", .object(JSONObject(body + [("stream", true)])))
            #expect(streamed.status == 200)
            #expect(streamed.events.compactMap { $0["choices"]?[0]?["text"]?.string }.joined() == "def")
            #expect(streamed.events.last?["error"]?["code"] == "engine.logits-not-finite")
            #expect(!streamed.body.contains("[DONE]"))
            let whole = try await server.post("/v1/completions", .object(JSONObject(body)))
            #expect(whole.status == 500 && whole.errorCode == "engine.logits-not-finite")
        }
    }

    @Test(arguments: [true, false])
    func aClientThatHangsUpFreesTheEngine(streams: Bool) async throws {
        // The whole answer would take minutes.
        let model = try alphabet(secondsPerStep: 0.002)
        let engine = try #require(model.engine)
        try await TestServer.run([model]) { server in
            let body: JSON = [
                "model": "alphabet", "messages": Self.question, "max_tokens": 50_000, "stream": .bool(streams),
            ]
            if streams {
                #expect(try await server.postAndHangUp("/v1/chat/completions", body).hasPrefix("data: {"))
            } else {
                let asking = Task { try await server.postAndHangUp("/v1/chat/completions", body) }
                try await until { await engine.statistics.running == 1 }
                asking.cancel()
                _ = await asking.result
            }
            try await until { await engine.statistics.cancelled == 1 }
            #expect(await engine.statistics.running == 0)
            let next = try await server.post(
                "/v1/completions", ["model": "alphabet", "prompt": "a", "max_tokens": 1, "temperature": 0])
            #expect(next.json["choices"]?[0]?["text"] == "b")
        }
    }

    @Test func endsARequestThatTakesTooLong() async throws {
        let model = try alphabet(secondsPerStep: 0.002)
        let configuration = ServerConfiguration(requestTimeout: .milliseconds(200))
        try await TestServer.run([model], configuration: configuration) { server in
            let body: [(String, JSON)] = [("model", "alphabet"), ("prompt", "a"), ("max_tokens", 50_000)]
            let whole = try await server.post("/v1/completions", .object(JSONObject(body)))
            #expect(whole.status == 504 && whole.errorCode == "request_timeout")
            #expect(whole.headers["x-should-retry"] == "false")
            let streamed = try await server.post("/v1/completions", .object(JSONObject(body + [("stream", true)])))
            #expect(streamed.events.last?["error"]?["code"] == "request_timeout")
            try await until { await model.engine?.statistics.running == 0 }
        }
    }

    @Test func tellsThoseWhoWaitThatItStops() async throws {
        let model = try alphabet(secondsPerStep: 0.002)
        let configuration = ServerConfiguration(shutdownGrace: .milliseconds(50))
        let body: JSON = ["model": "alphabet", "prompt": "a", "max_tokens": 50_000, "stream": true]
        let response = try await testGracefulShutdown { trigger in
            try await TestServer.run([model], configuration: configuration) { server in
                async let response = server.post("/v1/completions", body)
                try await until { await model.engine?.statistics.running == 1 }
                trigger.triggerGracefulShutdown()
                return try await response
            }
        }
        #expect(response.events.last?["error"]?["code"] == "shutting_down")
        #expect(response.events.count > 1 && !response.body.contains("[DONE]"))
    }

    @Test func answersManyAtOnceAsOneByOne() async throws {
        try await TestServer.run(try TestServer.tinyModels()) { server in
            @Sendable func ask(_ seed: Int) async throws -> String? {
                let response = try await server.post(
                    "/v1/completions",
                    [
                        "model": .string(seed % 2 == 0 ? "tiny" : "tiny-tuned"), "prompt": "abc", "max_tokens": 12,
                        "temperature": 1, "seed": .int(seed),
                    ])
                return response.json["choices"]?[0]?["text"]?.string
            }
            var alone: [Int: String?] = [:]
            for seed in 0..<10 { alone[seed] = try await ask(seed) }
            let together = try await withThrowingTaskGroup(of: (Int, String?).self) { group in
                for seed in 0..<10 { group.addTask { (seed, try await ask(seed)) } }
                return try await group.reduce(into: [Int: String?]()) { $0[$1.0] = $1.1 }
            }
            #expect(together == alone)
            #expect(Set(alone.values.compactMap { $0 }).count > 5)
        }
    }

    /// Waits for a condition, ten seconds at most.
    private func until(_ condition: () async -> Bool) async throws {
        for _ in 0..<1000 {
            if await condition() { return }
            try await Task.sleep(for: .milliseconds(10))
        }
        Issue.record("the condition did not come about")
    }
}

extension ServedModel {
    /// What computes its answers, where it generates.
    fileprivate var engine: Engine? {
        guard case .generator(let generator, _) = function else { return nil }
        return generator.engine
    }
}
