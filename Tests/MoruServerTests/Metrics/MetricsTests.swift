import Foundation
import MoruBase
import MoruEngine
import MoruServer
import MoruTestKit
import Testing

@Suite(.tags(.live)) struct MetricsTests {
    private func ask(_ server: TestServer, _ model: String, tokens: Int, stream: Bool = false) async throws
        -> TestResponse
    {
        try await server.post(
            "/v1/completions",
            [
                "model": .string(model), "prompt": .string(String(repeating: "abc", count: 30)), "temperature": 0,
                "max_tokens": .int(tokens), "stream": .bool(stream),
            ])
    }

    @Test func requestsAreCountedByRouteModelAndStatus() async throws {
        try await TestServer.run(try TestServer.tinyModels()) { server in
            _ = try await ask(server, "tiny", tokens: 3)
            _ = try await ask(server, "tiny-tuned", tokens: 3, stream: true)
            _ = try await ask(server, "tiny-tuned", tokens: 3)
            _ = try await ask(server, "unknown", tokens: 3)
            _ = try await server.request("GET", "/v1/models/tiny")
            _ = try await server.request("GET", "/nothing/here")
            _ = try await server.request("DELETE", "/v1/completions")
            // A stream's end may be read before it has been counted
            try await waitUntil { try await server.metrics().value("moru_http_requests_active") == 1 }
            let metrics = try await server.metrics()
            #expect(metrics.problems == [])
            func count(_ endpoint: String, _ method: String, _ model: String, _ status: Int) -> Double? {
                metrics.value(
                    "moru_http_requests_total",
                    ["endpoint": endpoint, "method": method, "model": model, "status": "\(status)"])
            }
            #expect(count("/v1/completions", "POST", "tiny", 200) == 1)
            #expect(count("/v1/completions", "POST", "tiny-tuned", 200) == 2)
            // What a client makes up is no label
            #expect(count("/v1/completions", "POST", "", 404) == 1)
            #expect(count("/v1/completions", "DELETE", "", 405) == 1)
            #expect(count("/v1/models/**", "GET", "", 200) == 1)
            #expect(count("none", "GET", "", 404) == 1)
            #expect(metrics.value("moru_http_requests_active") == 1)
            let labels = ["endpoint": "/v1/completions", "model": "tiny-tuned"]
            #expect(metrics.value("moru_http_request_seconds_count", labels) == 2)
        }
    }

    @Test func whatTheEngineDoesIsTold() async throws {
        try await TestServer.run(try TestServer.tinyModels()) { server in
            let before = try await server.metrics()
            let model = ["model": "tiny"]
            #expect(before.problems == [] && before.value("moru_generated_tokens_total", model) == 0)
            #expect((before.value("moru_kv_pages_capacity", model) ?? 0) > 0)
            var usage = (prompt: 0, cached: 0, generated: 0)
            for name in ["tiny", "tiny", "tiny-tuned"] {
                let its = try await ask(server, name, tokens: 4).json["usage"]
                usage.prompt += its?["prompt_tokens"]?.int ?? 0
                usage.generated += its?["completion_tokens"]?.int ?? 0
                usage.cached += its?["prompt_tokens_details"]?["cached_tokens"]?.int ?? 0
            }
            let metrics = try await server.metrics()
            #expect(metrics.problems == [] && usage.cached > 0)
            #expect(metrics.value("moru_prompt_tokens_total", model) == Double(usage.prompt))
            #expect(metrics.value("moru_prefix_cache_queries_total", model) == Double(usage.prompt))
            #expect(
                metrics.value("moru_prefix_cache_hits_total", ["model": "tiny", "source": "memory"])
                    == Double(usage.cached))
            #expect(metrics.value("moru_prompt_tokens_computed_total", model) == Double(usage.prompt - usage.cached))
            #expect(metrics.value("moru_generated_tokens_total", model) == Double(usage.generated))
            #expect(metrics.value("moru_requests_running", model) == 0)
            #expect(metrics.value("moru_requests_waiting", model) == 0)
            #expect(metrics.value("moru_kv_pages_used", model) == 0)
            #expect((metrics.value("moru_kv_pages_kept", model) ?? 0) >= 2)
            let reasons = ["stop", "length"].compactMap {
                metrics.value("moru_requests_finished_total", ["model": "tiny", "reason": $0])
            }
            #expect(reasons.reduce(0, +) == 3)
            #expect(metrics.value("moru_time_to_first_token_seconds_count", model) == 3)
            #expect(metrics.value("moru_queue_seconds_count", model) == 3)
            #expect(metrics.value("moru_generation_seconds_count", model) == 3)
            #expect(metrics.value("moru_inter_token_seconds_count", model) == Double(usage.generated - 3))
            #expect(metrics.value("moru_request_prompt_tokens_sum", model) == Double(usage.prompt))
            #expect(metrics.value("moru_request_generated_tokens_sum", model) == Double(usage.generated))
            let (steps, busy) = ("moru_engine_steps_total", "moru_engine_busy_seconds_total")
            #expect((metrics.value(steps, model) ?? 0) > 3)
            #expect((metrics.value(busy, model) ?? 0) > 0)
            // The process, by the names that Prometheus' own clients use
            #expect((metrics.value("process_resident_memory_bytes") ?? 0) > 1e6)
            #expect((metrics.value("process_cpu_seconds_total") ?? 0) > 0)
            let started = metrics.value("process_start_time_seconds") ?? 0
            #expect(abs(started - Date().timeIntervalSince1970) < 86400)
            #expect((metrics.value("process_open_fds") ?? 0) > 2)
            #expect(
                metrics.values.keys.contains {
                    $0.name == "moru_build_info" && $0.labels["version"] == MoruVersion.current
                })
        }
    }

    @Test func aKeyIsNotAskedFor() async throws {
        let configuration = ServerConfiguration(apiKey: "secret")
        try await TestServer.run(try TestServer.tinyModels(), configuration: configuration) { server in
            #expect(try await server.request("GET", "/v1/models").status == 401)
            let response = try await server.request("GET", "/metrics")
            #expect(response.status == 200)
            #expect(response.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8")
        }
    }

    @Test(.enabled(if: TestNeeds.python != nil, "needs MORU_TEST_PYTHON"))
    func prometheusOwnParserReadsBothFormats() async throws {
        try await TestServer.run(try TestServer.tinyModels()) { server in
            _ = try await ask(server, "tiny", tokens: 3)
            let program = """
                import sys
                from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
                from prometheus_client.parser import text_string_to_metric_families as prometheus
                for parse, name in (prometheus, "prometheus"), (openmetrics, "openmetrics"):
                    families = {f.name: f for f in parse(open(sys.argv[1] + name, newline="").read())}
                    assert len(families) > 30, families.keys()
                    assert families["moru_generated_tokens"].type == "counter"
                    assert families["moru_inter_token_seconds"].type == "histogram"
                    first = families["moru_time_to_first_token_seconds"].samples
                    assert [s.value for s in first if s.name.endswith("_count")] == [1.0]
                    print(name, len(families))
                """
            let folder = TestNeeds.temporaryPath("metrics") + "/"
            defer { FileSystem.remove(folder) }
            for (name, accept) in [("prometheus", "text/plain"), ("openmetrics", "application/openmetrics-text")] {
                let body = try await server.request("GET", "/metrics", headers: [("Accept", accept)]).body
                try FileSystem.write(Array(body.utf8), to: folder + name)
            }
            let lines = try TestNeeds.runPython(program, arguments: [folder]).split(separator: "\n")
            #expect(lines.count == 2 && lines[0].split(separator: " ")[1] == lines[1].split(separator: " ")[1])
        }
    }
}

@Suite(.tags(.live)) struct OverloadTests {
    private func body(stream: Bool = false) -> JSON {
        ["model": "alphabet", "prompt": "xyz", "max_tokens": 9, "temperature": 0, "stream": .bool(stream)]
    }

    @Test func tooMuchIsRefusedAtOnceAndTheRestIsAnswered() async throws {
        let gate = Gate()
        let configuration = EngineConfiguration(maximumSequences: 2, speculation: .off, maximumWaitingTokens: 40)
        let labels = ["model": "alphabet"]
        try await TestServer.run([try .alphabet(gate: gate, configuration: configuration)]) { server in
            gate.shut()
            let answers = try await withThrowingTaskGroup(of: String?.self) { group in
                for place in 1...4 {
                    group.addTask {
                        try await server.post("/v1/completions", body()).json["choices"]?[0]?["text"]?.string
                    }
                    // One is in the step that is held up, the others wait; that is told while the step goes on
                    try await waitUntil {
                        let metrics = try await server.metrics()
                        return metrics.value("moru_requests_running", labels) == 1
                            && metrics.value("moru_requests_waiting", labels) == Double(place - 1)
                    }
                }
                for stream in [false, true] {
                    let refused = try await server.post("/v1/completions", body(stream: stream))
                    #expect(refused.status == 429 && refused.errorCode == "overloaded", "\(refused)")
                    #expect(refused.json["error"]?["type"] == "rate_limit_error")
                    #expect(Int(refused.headers["retry-after"] ?? "").map { (1...3600).contains($0) } == true)
                }
                gate.open()
                return try await group.reduce(into: []) { $0.append($1) }
            }
            #expect(answers == Array(repeating: "abcdefghi", count: 4))
            let metrics = try await server.metrics()
            #expect(metrics.value("moru_requests_refused_total", labels) == 2)
            #expect(metrics.value("moru_requests_finished_total", ["model": "alphabet", "reason": "length"]) == 4)
            let counted = ["endpoint": "/v1/completions", "method": "POST", "model": "alphabet"]
            #expect(metrics.value("moru_http_requests_total", counted.merging(["status": "429"]) { $1 }) == 2)
            #expect(metrics.value("moru_http_requests_total", counted.merging(["status": "200"]) { $1 }) == 4)
        }
    }

    @Test(arguments: [true, false])
    func whoGoesAwayGivesPagesBackAtTheNextStep(streams: Bool) async throws {
        let gate = Gate()
        let model = try ServedModel.alphabet(gate: gate, configuration: EngineConfiguration(speculation: .off))
        let labels = ["model": "alphabet"]
        try await TestServer.run([model]) { server in
            func metric(_ name: String) async throws -> Double? { try await server.metrics().value(name, labels) }
            gate.shut()
            let body: JSON = [
                "model": "alphabet", "messages": [["role": "user", "content": "Hi"]], "max_tokens": 50_000,
                "stream": .bool(streams),
            ]
            let isAtWork: @Sendable () async throws -> Void = {
                try await waitUntil { (try await server.metrics().value("moru_kv_pages_used", labels) ?? 0) > 0 }
            }
            // The head of a stream comes at once
            let asking = Task {
                try await server.postAndHangUp("/v1/chat/completions", body, whileOpen: isAtWork)
            }
            try await isAtWork()
            if !streams { asking.cancel() }
            _ = await asking.result
            let gone = ["endpoint": "/v1/chat/completions", "method": "POST", "model": "alphabet", "status": "499"]
            try await waitUntil { try await server.metrics().value("moru_http_requests_total", gone) == 1 }
            // The step goes on for as long as it takes, and the next never comes
            #expect(try await metric("moru_requests_running") == 1)
            gate.open()
            try await waitUntil { try await metric("moru_requests_running") == 0 }
            #expect(try await metric("moru_kv_pages_used") == 0)
            #expect(try await metric("moru_engine_steps_total") == 1)
            let cancelled = ["model": "alphabet", "reason": "cancelled"]
            #expect(try await server.metrics().value("moru_requests_finished_total", cancelled) == 1)
        }
    }
}

@Suite(.tags(.live)) struct MetricNamesTests {
    @Test func everyMetricIsInTheGuide() async throws {
        let folder = TestNeeds.temporaryPath("prefixes")
        defer { FileSystem.remove(folder) }
        let directory = try PrefixDirectory(path: folder, maximumBytes: 1 << 20)
        let model = try ServedModel.alphabet(configuration: EngineConfiguration(prefixDirectory: directory))
        let guide = try FileSystem.readText(
            URL(fileURLWithPath: #filePath).deletingLastPathComponent().path + "/../../../docs/serving.md")
        try await TestServer.run([model]) { server in
            let ask: JSON = [
                "model": "alphabet", "prompt": .string(String(repeating: "xyz", count: 50)), "max_tokens": 3,
            ]
            _ = try await server.post("/v1/completions", ask)
            let metrics = try await server.metrics()
            #expect(metrics.problems == [] && metrics.types.count > 45)
            for name in metrics.types.keys where name.hasPrefix("moru_") {
                #expect(guide.contains(name), "docs/serving.md does not tell of \(name)")
            }
            let (hits, labels) = ("moru_prefix_cache_hits_total", ["model": "alphabet", "source": "disk"])
            #expect(metrics.value(hits, labels) == 0 && metrics.value("moru_prefix_disk_pages") == 0)
        }
        // What a server had in memory is on disk when it has stopped
        try await waitUntil { directory.statistics.written == 2 }
        let again = try ServedModel.alphabet(configuration: EngineConfiguration(prefixDirectory: directory))
        try await TestServer.run([again]) { server in
            let ask: JSON = [
                "model": "alphabet", "prompt": .string(String(repeating: "xyz", count: 50)), "max_tokens": 3,
            ]
            let usage = try await server.post("/v1/completions", ask).json["usage"]
            #expect(usage?["prompt_tokens_details"]?["cached_tokens"] == 128)
            let disk = ["model": "alphabet", "source": "disk"]
            #expect(try await server.metrics().value("moru_prefix_cache_hits_total", disk) == 128)
        }
    }
}
