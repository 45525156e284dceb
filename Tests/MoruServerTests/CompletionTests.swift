import MoruBase
import MoruServer
import MoruTestKit
import Testing

/// What completions do beyond continuing a prompt.
@Suite(.tags(.live)) struct CompletionTests {
    /// A body of a completion.
    private func body(_ fields: (String, JSON)...) -> JSON {
        .object(JSONObject([("model", "tiny"), ("prompt", "abc"), ("max_tokens", 6), ("temperature", 1)] + fields))
    }

    @Test("of several answers, the likeliest by the mean of their tokens are given")
    func bestOf() async throws {
        try await TestServer.run(try TestServer.tinyModels()) { server in
            let all = try await server.post("/v1/completions", body(("n", 6), ("seed", 3), ("logprobs", 0)))
            let ranked = (all.json["choices"]?.array ?? []).map { choice in
                let scores = (choice["logprobs"]?["token_logprobs"]?.array ?? []).compactMap(\.double)
                return (choice["text"]?.string, scores.reduce(0, +) / Double(max(1, scores.count)))
            }.sorted { $0.1 > $1.1 }
            #expect(ranked.count == 6 && Set(ranked.map(\.0)).count > 3, "\(all.body)")
            let best = try await server.post("/v1/completions", body(("n", 2), ("best_of", 6), ("seed", 3)))
            let choices = best.json["choices"]?.array ?? []
            #expect(choices.map { $0["text"]?.string } == ranked.prefix(2).map(\.0), "\(best.body)")
            #expect(choices.map { $0["index"]?.int } == [0, 1])
            #expect(choices.allSatisfy { $0.object?["logprobs"] == .null })
            // What was thrown away has cost as much
            #expect(best.json["usage"]?["completion_tokens"] == all.json["usage"]?["completion_tokens"])
            let echoed = try await server.post(
                "/v1/completions",
                body(("n", 2), ("best_of", 6), ("seed", 3), ("echo", true), ("logprobs", 1)))
            let texts = echoed.json["choices"]?.array?.map { $0["text"]?.string }
            #expect(texts == ranked.prefix(2).map { ("abc" + ($0.0 ?? "")) }, "\(echoed.body)")
        }
    }

    @Test("each prompt has its own best answers")
    func bestOfPrompts() async throws {
        try await TestServer.run(try TestServer.tinyModels()) { server in
            func ask(_ prompt: JSON) async throws -> [String] {
                let fields = body(("best_of", 4), ("seed", 1), ("prompt", prompt))
                let answer = try await server.post("/v1/completions", fields)
                return answer.json["choices"]?.array?.compactMap { $0["text"]?.string } ?? []
            }
            let (first, second) = (try await ask("abc"), try await ask("xyz"))
            #expect(first.count == 1 && second.count == 1)
            #expect(try await ask(["abc", "xyz"]) == first + second)
        }
    }

    @Test("what stands between two texts is asked for with the marks of the vocabulary")
    func fillsAGap() async throws {
        try await TestServer.run([try ServedModel.gapFiller()]) { server in
            for prompt: JSON in ["def ", [100, 101, 102, 32]] {
                for streams in [false, true] {
                    let answer = try await server.post(
                        "/v1/completions",
                        [
                            "model": "coder", "prompt": prompt, "suffix": "()", "temperature": 0, "max_tokens": 9,
                            "stream": .bool(streams),
                        ])
                    let choices =
                        streams ? answer.events.compactMap { $0["choices"]?[0] } : answer.json["choices"]?.array ?? []
                    #expect(choices.compactMap { $0["text"]?.string }.joined() == "xy", "\(answer.body)")
                    #expect(choices.last?["finish_reason"] == "stop")
                    if !streams { #expect(answer.json["usage"]?["prompt_tokens"] == 9) }
                }
            }
            // Without anything after it, a prompt is continued as ever
            let plain = try await server.post(
                "/v1/completions",
                ["model": "coder", "prompt": "def ", "suffix": "", "temperature": 0, "max_tokens": 2])
            #expect(plain.json["choices"]?[0]?["text"] == "zz", "\(plain.body)")
        }
    }

    @Test("a model without the marks says which it lacks")
    func refusesGaps() async throws {
        try await TestServer.run(try TestServer.tinyModels()) { server in
            let refusal = try await server.post("/v1/completions", body(("suffix", "()")))
            #expect(refusal.status == 400 && refusal.errorParam == "suffix", "\(refusal.body)")
            #expect(refusal.errorCode == "tokenizer.no-fill-in-middle")
            #expect(refusal.json["error"]?["message"]?.string?.contains("<|fim_middle|>") == true)
        }
    }

    @Test("echo, log-probabilities and a grammar together: the grammar holds for the answer alone")
    func echoScoresAndGrammar() async throws {
        try await TestServer.run(try TestServer.tinyModels()) { server in
            for streams in [false, true] {
                let answer = try await server.post(
                    "/v1/completions",
                    body(
                        ("echo", true), ("logprobs", 2), ("guided_regex", "[0-9]{3}"), ("seed", 2),
                        ("stream", .bool(streams))))
                let choices =
                    streams ? answer.events.compactMap { $0["choices"]?[0] } : answer.json["choices"]?.array ?? []
                let text = choices.compactMap { $0["text"]?.string }.joined()
                #expect(text.hasPrefix("abc") && text.count == 6, "\(answer.body)")
                #expect(text.dropFirst(3).allSatisfy { $0.isNumber }, "\(text)")
                let tokens = choices.flatMap { $0["logprobs"]?["tokens"]?.array ?? [] }.compactMap(\.string)
                let scores = choices.flatMap { $0["logprobs"]?["token_logprobs"]?.array ?? [] }
                #expect(tokens.joined() == text && scores.count == 6 && scores[0] == .null)
                #expect(scores.dropFirst().allSatisfy { ($0.double ?? 1) < 0 })
                #expect(choices.flatMap { $0["logprobs"]?["text_offset"]?.ints ?? [] } == Array(0..<6))
                #expect(choices.last?["finish_reason"] == "stop")
            }
        }
    }
}
