import MoruBase
import MoruServer
import MoruTestKit
import Testing

/// The Open Inference Protocol over HTTP.
@Suite(.tags(.live)) struct OpenInferenceTests {
    private static let text: JSON = ["name": "text", "shape": [1], "datatype": "BYTES", "data": ["ab"]]

    @Test func tellsOfItselfAndItsModels() async throws {
        try await TestServer.run(try TestServer.tinyModels(), configuration: .init(apiKey: "secret")) { server in
            for probe in ["live", "ready"] {
                let health = try await server.request("GET", "/v2/health/\(probe)")
                #expect(health.status == 200 && health.json == [probe: true], "probes have no key: \(health)")
            }
            #expect(try await server.request("GET", "/v2").status == 401)
            let key = [("Authorization", "Bearer secret")]
            let metadata = try await server.request("GET", "/v2", headers: key)
            #expect(metadata.json["name"] == "moru" && metadata.json["version"] == .string(MoruVersion.current))
            #expect(metadata.json["extensions"]?.array?.contains("binary_tensor_data") == true)
            let models = try await server.request("GET", "/v2/models", headers: key)
            #expect(models.json == ["models": ["tiny", "tiny-tuned"]])
            for path in ["/v2/models/tiny", "/v2/models/tiny/versions/1"] {
                let model = try await server.request("GET", path, headers: key)
                #expect(
                    model.json == [
                        "name": "tiny", "versions": ["1"], "platform": "moru",
                        "inputs": [["name": "text", "datatype": "BYTES", "shape": [-1]]],
                        "outputs": [
                            ["name": "text", "datatype": "BYTES", "shape": [-1]],
                            ["name": "finish_reason", "datatype": "BYTES", "shape": [-1]],
                        ],
                    ])
                let ready = try await server.request("GET", path + "/ready", headers: key)
                #expect(ready.status == 200 && ready.json == ["name": "tiny", "ready": true])
            }
        }
    }

    @Test func generatesAsCompletionsDo() async throws {
        try await TestServer.run(try TestServer.tinyModels()) { server in
            let fields: JSON = ["max_tokens": 5, "temperature": 1, "seed": 7, "stop": ["~"]]
            let texts: [String] = ["ab", "abc"]
            let answer = try await server.post(
                "/v2/models/tiny-tuned/infer",
                [
                    "id": "42", "parameters": fields,
                    "inputs": [["name": "text", "shape": [2, 1], "datatype": "BYTES", "data": [["ab"], ["abc"]]]],
                ])
            #expect(answer.status == 200, "\(answer)")
            #expect(answer.json["id"] == "42" && answer.json["model_name"] == "tiny-tuned")
            #expect(answer.json["outputs"]?[0]?["shape"] == [2] && answer.json["outputs"]?[1]?["datatype"] == "BYTES")
            for (place, text) in texts.enumerated() {
                var body = fields.object ?? JSONObject()
                body["model"] = "tiny-tuned"
                body["prompt"] = .string(text)
                let completion = try await server.post("/v1/completions", .object(body)).json["choices"]?[0]
                #expect(answer.json["outputs"]?[0]?["data"]?[place] == completion?["text"])
                #expect(answer.json["outputs"]?[1]?["data"]?[place] == completion?["finish_reason"])
            }
            #expect(answer.json["parameters"]?["prompt_tokens"] == 5)
        }
    }

    @Test func readsTokenIDsWithPadding() async throws {
        try await TestServer.run(try TestServer.tinyModels()) { server in
            func inputs(_ list: JSON) -> JSON { ["parameters": ["max_tokens": 4, "temperature": 0], "inputs": list] }
            let text = try await server.post(
                "/v2/models/tiny/infer",
                inputs([["name": "text", "shape": [2], "datatype": "BYTES", "data": ["abc", "d"]]]))
            let ids = try await server.post(
                "/v2/models/tiny/infer",
                inputs([
                    ["name": "input_ids", "shape": [2, 3], "datatype": "INT64", "data": [97, 98, 99, 0, 0, 100]],
                    ["name": "attention_mask", "shape": [2, 3], "datatype": "INT64", "data": [1, 1, 1, 0, 0, 1]],
                ]))
            #expect(text.status == 200 && ids.status == 200, "\(ids)")
            #expect(text.json["outputs"] == ids.json["outputs"])
        }
    }

    @Test func givesWhatIsAskedForAndNoMore() async throws {
        try await TestServer.run(try TestServer.tinyModels()) { server in
            let answer = try await server.post(
                "/v2/models/tiny/infer",
                [
                    "inputs": [Self.text], "parameters": ["max_tokens": 2, "binary_data_output": true],
                    "outputs": [["name": "finish_reason", "parameters": ["binary_data": false]]],
                ])
            #expect(answer.json["outputs"]?.array?.compactMap { $0["name"] } == ["finish_reason"])
            #expect(answer.json["outputs"]?[0]?["data"] == ["length"] && answer.json["id"] == nil)
        }
    }

    @Test func continuesATextAtOnceAndInPieces() async throws {
        try await TestServer.run(try TestServer.tinyModels()) { server in
            let body: JSON = [
                "text_input": "ab", "max_tokens": 6, "stream": false, "parameters": ["temperature": 1, "seed": 3],
            ]
            let whole = try await server.post("/v2/models/tiny/generate", body)
            #expect(whole.status == 200 && whole.json["model_name"] == "tiny", "\(whole)")
            #expect(whole.json["model_version"] == "1" && whole.json["finish_reason"] == "length")
            let wrong = try await server.post("/v2/models/tiny/generate_stream", body)
            #expect(wrong.status == 400 && wrong.json["error"]?.string?.contains("'stream'") == true, "\(wrong)")
            var streamed = body.object ?? JSONObject()
            streamed["stream"] = true
            let pieces = try await server.post("/v2/models/tiny/generate_stream", .object(streamed))
            #expect(pieces.headers["content-type"]?.hasPrefix("text/event-stream") == true)
            #expect(pieces.events.count > 2 && !pieces.body.contains("[DONE]"), "\(pieces)")
            let text = pieces.events.compactMap { $0["text_output"]?.string }.joined()
            #expect(.string(text) == whole.json["text_output"])
            #expect(pieces.events.last?["finish_reason"] == "length")
        }
    }

    @Test(
        arguments: [
            ("GET", "/v2/nothing", nil, 404, "/v2/models"),
            ("GET", "/v2/models/tini", nil, 404, "Did you mean 'tiny'?"),
            ("GET", "/v2/models/tiny/versions/2", nil, 404, "no version '2'"),
            ("GET", "/v2/models/tiny/infer", nil, 405, "use POST"),
            ("POST", "/v2/models/tiny", "{}", 405, "use GET, HEAD"),
            ("POST", "/v2", "{}", 405, "use GET, HEAD"),
            ("POST", "/v2/models/tiny/infer", "{", 400, "Request body, line 1"),
            ("POST", "/v2/models/tiny/infer", "{}", 400, "'inputs' is required"),
            ("POST", "/v2/models/tiny/infer", #"{"inputs": []}"#, 400, "'inputs' is required"),
            ("POST", "/v2/models/tiny/infer", #"{"inputs": [], "input": 1}"#, 400, "Did you mean 'inputs'?"),
            (
                "POST", "/v2/models/tiny/infer",
                #"{"inputs": [{"name": "text", "shape": [1], "datatype": "FP32", "data": [1.5]}]}"#, 400,
                "'inputs[0].datatype' is 'FP32'"
            ),
            (
                "POST", "/v2/models/tiny/infer",
                #"{"inputs": [{"name": "text", "shape": [2], "datatype": "BYTES", "data": ["a"]}]}"#, 400,
                "2 elements, and there are 1"
            ),
            (
                "POST", "/v2/models/tiny/infer",
                #"{"inputs": [{"name": "image", "shape": [1], "datatype": "BYTES", "data": ["a"]}]}"#, 400,
                "'inputs[0].name' is 'image'"
            ),
            (
                "POST", "/v2/models/tiny/infer",
                #"{"inputs": [{"name": "input_ids", "shape": [1], "datatype": "INT32", "data": [999]}]}"#, 400,
                "token id 999"
            ),
            (
                "POST", "/v2/models/tiny/infer",
                #"""
                {"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": ["a"]}],
                 "parameters": {"max_token": 3}}
                """#, 400, "Did you mean 'max_tokens'?"
            ),
            (
                "POST", "/v2/models/tiny/infer",
                #"""
                {"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": ["a"]}],
                 "parameters": {"stream": true}}
                """#, 400, "'parameters.stream' is not supported"
            ),
            (
                "POST", "/v2/models/tiny/infer",
                #"""
                {"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": ["a"]}],
                 "parameters": {"sequence_id": 3}}
                """#, 400, "'parameters.sequence_id' is not supported"
            ),
            (
                "POST", "/v2/models/tiny/infer",
                #"""
                {"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": ["a"]}],
                 "outputs": [{"name": "logits"}]}
                """#, 400, "the model gives 'text' and 'finish_reason'"
            ),
            ("POST", "/v2/models/tiny/generate", #"{"prompt": "a"}"#, 400, "'text_input' is required"),
        ] as [(String, String, String?, Int, String)])
    func refusesInTheProtocolsShape(
        method: String, path: String, body: String?, status: Int, part: String
    ) async throws {
        try await TestServer.run(try TestServer.tinyModels()) { server in
            let response = try await server.request(method, path, body: body)
            #expect(response.status == status, "\(response)")
            #expect(response.json.object?.keys == ["error"], "\(response)")
            #expect(response.json["error"]?.string?.contains(part) == true, "\(response)")
            if status == 405 { #expect(response.headers["allow"] != nil) }
        }
    }

    @Test func takesBodiesThatOnlyClientsCanSend() async throws {
        try await TestServer.run(try TestServer.tinyModels()) { server in
            let json: JSON = ["inputs": [Self.text], "parameters": ["max_tokens": 1]]
            let body = json.text()
            let headers: [(String, String)?] = [
                nil, ("Content-Type", "application/octet-stream"), ("Origin", "http://elsewhere.example"),
                ("Content-Type", "text/plain"), ("Content-Encoding", "gzip"),
            ]
            var statuses: [Int] = []
            for header in headers {
                let response = try await server.request(
                    "POST", "/v2/models/tiny/infer", bytes: Array(body.utf8), headers: header.map { [$0] } ?? [])
                statuses.append(response.status)
            }
            #expect(statuses == [200, 200, 415, 415, 415])
        }
    }

    @Test func takesTensorsAsBinaryData() async throws {
        try await TestServer.run(try TestServer.tinyModels()) { server in
            let json = #"""
                {"inputs": [{"name": "text", "shape": [2], "datatype": "BYTES", "parameters": {"binary_data_size": 11}}],
                 "parameters": {"max_tokens": 3, "temperature": 0, "binary_data_output": true}}
                """#
            let body = Array(json.utf8) + [1, 0, 0, 0, 97, 2, 0, 0, 0, 98, 99]
            let answer = try await server.request(
                "POST", "/v2/models/tiny/infer", bytes: body,
                headers: [("Inference-Header-Content-Length", "\(json.utf8.count)")])
            #expect(answer.status == 200, "\(answer)")
            let count = try #require(answer.headers["inference-header-content-length"].flatMap { Int($0) })
            let head = try JSON.parse(Array(answer.body.utf8.prefix(count)), source: "answer")
            let sizes = head["outputs"]?.array?.compactMap { $0["parameters"]?["binary_data_size"]?.int } ?? []
            #expect(sizes.count == 2 && answer.body.utf8.count == count + sizes.reduce(0, +))
            let plain = try await server.post(
                "/v2/models/tiny/infer",
                [
                    "inputs": [["name": "text", "shape": [2], "datatype": "BYTES", "data": ["a", "bc"]]],
                    "parameters": ["max_tokens": 3, "temperature": 0],
                ])
            let first = plain.json["outputs"]?[0]?["data"]?[0]?.string ?? ""
            let data = Array(answer.body.utf8.dropFirst(count))
            #expect(data.starts(with: [UInt8(first.utf8.count), 0, 0, 0] + Array(first.utf8)))
        }
    }
}
