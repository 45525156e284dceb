import MoruBase
import MoruServer
import MoruTestKit
import Testing

@Suite(.tags(.live)) struct ServerTests {
    @Test func saysThatItIsWell() async throws {
        try await TestServer.run(try TestServer.tinyModels()) { server in
            let health = try await server.request("GET", "/health")
            #expect(health.status == 200)
            #expect(health.json == ["status": "ok", "models": ["tiny", "tiny-tuned"]])
            #expect(health.headers["access-control-allow-origin"] == nil)
            #expect(try await server.request("HEAD", "/health").status == 200)
        }
    }

    @Test func listsItsModels() async throws {
        try await TestServer.run(try TestServer.tinyModels()) { server in
            let list = try await server.request("GET", "/v1/models").json
            #expect(list["object"] == "list")
            #expect(list["data"]?.array?.compactMap { $0["id"]?.string } == ["tiny", "tiny-tuned"])
            #expect(list["data"]?[1]?["parent"] == "tiny" && list["data"]?[0]?["max_model_len"] == 256)
            #expect(try await server.request("GET", "/v1/models/tiny-tuned").json == list["data"]?[1])
            let missing = try await server.request("GET", "/v1/models/tini")
            #expect(missing.status == 404 && missing.errorCode == "model_not_found" && missing.errorParam == "model")
            #expect(missing.json["error"]?["message"]?.string?.contains("Did you mean 'tiny'?") == true)
        }
    }

    @Test(
        arguments: [
            ("GET", "/v1/nothing", nil, 404, "unknown_url", nil),
            ("GET", "/", nil, 404, "unknown_url", nil),
            ("GET", "/v1/chat/completions", nil, 405, "method_not_allowed", nil),
            ("DELETE", "/v1/models/tiny", nil, 405, "method_not_allowed", nil),
            ("POST", "/v1/models", "{}", 405, "method_not_allowed", nil),
            ("POST", "/v1/completions", "{\"model\": \"tiny\",\n \"prompt\"; \"a\"}", 400, "malformed_json", nil),
            ("POST", "/v1/completions", "", 400, "malformed_json", nil),
            ("POST", "/v1/completions", "[]", 400, "invalid_type", nil),
            ("POST", "/v1/completions", #"{"model": "tiny"}"#, 400, "missing_required_parameter", "prompt"),
            ("POST", "/v1/completions", #"{"model": "none", "prompt": "a"}"#, 404, "model_not_found", "model"),
            ("POST", "/v1/completions", #"{"model": "tiny", "prompt": ""}"#, 400, "invalid_value", "prompt"),
            ("POST", "/v1/completions", #"{"model": "tiny", "prompt": [1, 999]}"#, 400, "invalid_value", "prompt"),
            (
                "POST", "/v1/completions", #"{"model": "tiny", "prompt": "a", "logit_bias": {"999": 1}}"#, 400,
                "invalid_value", "logit_bias"
            ),
        ] as [(String, String, String?, Int, String, String?)])
    func refuses(
        method: String, path: String, body: String?, status: Int, code: String, param: String?
    ) async throws {
        try await TestServer.run(try TestServer.tinyModels()) { server in
            let response = try await server.request(method, path, body: body)
            #expect(response.status == status, "\(response)")
            #expect(response.errorCode == code, "\(response)")
            #expect(response.errorParam == param, "\(response)")
            #expect(response.headers["content-type"] == "application/json")
            if status == 405 { #expect(response.headers["allow"] != nil) }
        }
    }

    @Test func saysWhereJSONIsMalformed() async throws {
        try await TestServer.run(try TestServer.tinyModels()) { server in
            let response = try await server.request("POST", "/v1/completions", body: "{\"model\": \"tiny\",\n  oops}")
            let message = response.json["error"]?["message"]?.string ?? ""
            #expect(message.contains("line 2") || message.contains(":2:3"), "\(message)")
        }
    }

    @Test func refusesBodiesThatAreNoJSONOrTooLarge() async throws {
        let configuration = ServerConfiguration(maximumBodyBytes: 1000)
        try await TestServer.run(try TestServer.tinyModels(), configuration: configuration) { server in
            let form = try await server.request(
                "POST", "/v1/completions", body: #"{"model": "tiny", "prompt": "a"}"#,
                headers: [("Content-Type", "text/plain")])
            #expect(form.status == 415 && form.errorCode == "unsupported_media_type")
            let large = try await server.post(
                "/v1/completions", ["model": "tiny", "prompt": .string(String(repeating: "a", count: 2000))])
            #expect(large.status == 413 && large.errorCode == "request_too_large")
            #expect(large.json["error"]?["message"]?.string?.contains("1000 bytes") == true)
        }
    }

    @Test func asksForItsKey() async throws {
        let configuration = ServerConfiguration(apiKey: "secret")
        try await TestServer.run(try TestServer.tinyModels(), configuration: configuration) { server in
            let none = try await server.request("GET", "/v1/models")
            #expect(none.status == 401 && none.errorCode == "invalid_api_key")
            let wrong = try await server.request("GET", "/v1/models", headers: [("Authorization", "Bearer secreT")])
            #expect(wrong.status == 401)
            let right = try await server.request("GET", "/v1/models", headers: [("Authorization", "Bearer secret")])
            #expect(right.status == 200)
            #expect(try await server.request("GET", "/health").status == 200)
        }
    }

    @Test func saysByHowMuchAPromptIsTooLong() async throws {
        try await TestServer.run(try TestServer.tinyModels(contextLength: 64)) { server in
            let prompt = JSON.string(String(repeating: "a", count: 70))
            for streams in [false, true] {
                let response = try await server.post(
                    "/v1/completions", ["model": "tiny", "prompt": prompt, "stream": .bool(streams)])
                #expect(response.status == 400 && response.errorCode == "context_length_exceeded", "\(response)")
                #expect(response.errorParam == "prompt")
                let message = response.json["error"]?["message"]?.string ?? ""
                #expect(message.contains("70 tokens, 7 more than the context of 64"), "\(message)")
            }
        }
    }

    @Test func goesOnAfterTheEndWhereAsked() async throws {
        try await TestServer.run(try TestServer.tinyModels()) { server in
            for ignores in [false, true] {
                let response = try await server.post(
                    "/v1/completions",
                    [
                        "model": "tiny", "prompt": "a", "max_tokens": 5, "temperature": 0, "logit_bias": ["258": 100],
                        "ignore_eos": .bool(ignores),
                    ])
                #expect(response.json["usage"]?["completion_tokens"]?.int == (ignores ? 5 : 0), "\(response)")
                #expect(response.json["choices"]?[0]?["finish_reason"] == (ignores ? "length" : "stop"))
            }
        }
    }

    @Test func answersWithItsFirstModelWhereNoneIsNamed() async throws {
        try await TestServer.run(try TestServer.tinyModels()) { server in
            let response = try await server.post("/v1/completions", ["prompt": "a", "max_tokens": 1])
            #expect(response.status == 200 && response.json["model"] == "tiny", "\(response)")
        }
    }

    @Test func computesAPromptAnewWhereAsked() async throws {
        try await TestServer.run(try TestServer.tinyModels()) { server in
            for (caches, isKnown) in [(true, false), (true, true), (false, false)] {
                let response = try await server.post(
                    "/v1/completions",
                    [
                        "model": "tiny", "prompt": .string(String(repeating: "ab", count: 50)), "max_tokens": 1,
                        "cache_prompt": .bool(caches),
                    ])
                let cached = response.json["usage"]?["prompt_tokens_details"]?["cached_tokens"]?.int
                #expect(try (#require(cached) > 0) == isKnown, "\(response)")
            }
        }
    }

    @Test func saysThatAnAnswerWasCutAtTheEndOfTheContext() async throws {
        try await TestServer.run(try TestServer.tinyModels(contextLength: 64)) { server in
            let response = try await server.post(
                "/v1/completions",
                [
                    "model": "tiny", "prompt": .string(String(repeating: "a", count: 60)), "max_tokens": 100,
                    "temperature": 0, "logit_bias": ["258": -100],
                ])
            #expect(response.json["choices"]?[0]?["finish_reason"] == "length", "\(response)")
            #expect(response.json["usage"]?["completion_tokens"] == 4)
        }
    }

    @Test func scoresASingleToken() async throws {
        try await TestServer.run(try TestServer.tinyModels()) { server in
            let response = try await server.post(
                "/v1/completions", ["model": "tiny", "prompt": "a", "max_tokens": 0, "echo": true, "logprobs": 1])
            let choice = response.json["choices"]?[0]
            #expect(choice?["text"] == "a", "\(response)")
            #expect(choice?["logprobs"]?["tokens"] == ["a"] && choice?["logprobs"]?["token_logprobs"] == [nil])
        }
    }

    @Test func outlastsBrokenRequests() async throws {
        try await TestServer.run(try TestServer.tinyModels()) { server in
            let nested = String(repeating: "[", count: 5000)
            let deep = try await server.request("POST", "/v1/completions", body: "{\"prompt\": \(nested)")
            #expect(deep.status == 400 && deep.errorCode == "malformed_json")
            let header = [("X-Long", String(repeating: "x", count: 200_000))]
            #expect(try await server.request("GET", "/health", headers: header).status >= 400)
            #expect(try await server.request("OPTIONS", "/v1/chat/completions").status == 405)
            #expect(try await server.request("GET", "/health").status == 200)
        }
    }

    @Test func saysThatAPortIsInUse() async throws {
        try await TestServer.run(try TestServer.tinyModels()) { server in
            let second = MoruServer(
                configuration: ServerConfiguration(port: server.port), models: try TestServer.tinyModels())
            let error = try await #require(throws: MoruError.self) { try await second.run() }
            #expect(error.code == .portInUse && error.code.kind == .conflict)
            #expect(error.message.contains("\(server.port)") && error.remedy?.contains("--port") == true)
        }
    }

    @Test func refusesSettings() async throws {
        let models = try TestServer.tinyModels()
        let servers = [
            MoruServer(configuration: ServerConfiguration(port: 70000), models: models),
            MoruServer(configuration: ServerConfiguration(apiKey: ""), models: models),
            MoruServer(configuration: ServerConfiguration(maximumBodyBytes: 0), models: models),
            MoruServer(configuration: ServerConfiguration(requestTimeout: .zero), models: models),
            MoruServer(models: []), MoruServer(models: models + models),
        ]
        for server in servers {
            let error = try await #require(throws: MoruError.self) { try await server.run() }
            #expect(error.code == .serverConfiguration && error.remedy != nil)
        }
    }

    @Test func saysThatAnAddressIsNotItsOwn() async throws {
        let server = MoruServer(
            configuration: ServerConfiguration(host: "192.0.2.1", port: 0), models: try TestServer.tinyModels())
        let error = try await #require(throws: MoruError.self) { try await server.run() }
        #expect(error.code == .addressUnusable && error.message.contains("192.0.2.1"))
    }
}
