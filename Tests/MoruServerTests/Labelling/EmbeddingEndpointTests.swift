import Foundation
import MoruBase
import MoruModels
import MoruServer
import MoruTestKit
import Testing

@Suite(.tags(.live)) struct EmbeddingEndpointTests {
    private let texts = ["the harbour was quiet", "a ferry came in at seven", "x", "she smiled at the old clock"]

    private func floats(base64 text: String) -> [Float] {
        let data = [UInt8](Data(base64Encoded: text) ?? Data())
        return stride(from: 0, to: data.count - 3, by: 4).map { begin in
            Float(bitPattern: (0..<4).reduce(UInt32(0)) { $0 | UInt32(data[begin + $1]) << (8 * UInt32($1)) })
        }
    }

    @Test func vectorsAreThoseOfTheModel() async throws {
        let models = try LabellingModels()
        let expected = try models.embedder.embed(texts)
        try await TestServer.run(try models.served()) { server in
            let body: JSON = ["model": "vectors", "input": .array(texts.map { .string($0) }), "user": "u"]
            let answer = try await server.post("/v1/embeddings", body)
            #expect(answer.status == 200 && answer.json["object"] == "list" && answer.json["model"] == "vectors")
            let data = try #require(answer.json["data"]?.array)
            #expect(data.map { $0["index"]?.int } == [0, 1, 2, 3])
            #expect(data.allSatisfy { $0["object"] == "embedding" })
            for (index, element) in data.enumerated() {
                #expect(element["embedding"]?.numbers == expected.vectors.rows(index..<index + 1).values())
            }
            let count = JSON.int(expected.tokenCount)
            #expect(answer.json["usage"] == ["prompt_tokens": count, "total_tokens": count])
            let encoded = try await server.post(
                "/v1/embeddings", ["model": "vectors", "input": .string(texts[1]), "encoding_format": "base64"])
            let text = try #require(encoded.json["data"]?[0]?["embedding"]?.string)
            #expect(floats(base64: text) == expected.vectors.rows(1..<2).values())
            // The byte tokenizer's ids are the bytes
            let ids: JSON = .array(texts.map { .array($0.utf8.map { .int(Int($0)) }) })
            let tokens = try await server.post("/v1/embeddings", ["model": "vectors", "input": ids])
            #expect(tokens.json["data"] == answer.json["data"])
            let one = try await server.post(
                "/v1/embeddings", ["model": "vectors", "input": .array(texts[2].utf8.map { .int(Int($0)) })])
            #expect(one.json["data"]?[0]?["embedding"] == data[2]["embedding"])
        }
    }

    @Test func manyAtOnceGetWhatEachGetsAlone() async throws {
        let models = try LabellingModels()
        let texts = (0..<24).map { "text \($0) " + String(repeating: "again and ", count: $0 % 5) }
        let expected = try texts.map { try models.embedder.embed([$0]).vectors.values() }
        try await TestServer.run(try models.served()) { server in
            try await withThrowingTaskGroup(of: Void.self) { group in
                for (text, vector) in zip(texts, expected) {
                    group.addTask {
                        let answer = try await server.post(
                            "/v1/embeddings", ["model": "vectors", "input": .string(text)])
                        #expect(answer.json["data"]?[0]?["embedding"]?.numbers == vector)
                    }
                }
                try await group.waitForAll()
            }
        }
    }

    @Test func vectorsAreCutWhereTheModelWasTrainedForIt() async throws {
        let models = try LabellingModels()
        let whole = try models.embedder.embed(["ferry"]).vectors.values()
        try await TestServer.run(try models.served()) { server in
            func ask(_ dimensions: Int) async throws -> TestResponse {
                try await server.post(
                    "/v1/embeddings", ["model": "vectors", "input": "ferry", "dimensions": .int(dimensions)])
            }
            let cut = try await ask(8).json["data"]?[0]?["embedding"]?.numbers ?? []
            let length = whole.prefix(8).reduce(0) { $0 + $1 * $1 }.squareRoot()
            expectClose(cut, whole.prefix(8).map { $0 / length }, absolute: 1e-6)
            #expect(try await ask(32).json["data"]?[0]?["embedding"]?.numbers == whole)
            for wrong in [9, 33] {
                let refused = try await ask(wrong)
                #expect(refused.status == 400 && refused.errorParam == "dimensions", "\(refused)")
            }
        }
        #expect(try TestModels.tinyEmbedder().canShorten(to: 8) == false)
        #expect(try TestModels.tinyEmbedder(fields: JSONObject([("is_matryoshka", true)])).canShorten(to: 5))
    }

    @Test func promptsAndCuts() async throws {
        let models = try LabellingModels()
        let long = String(repeating: "again ", count: 100)
        let asked = try models.embedder.embed(["ferry"], prompt: "query").vectors.values()
        let cut = try models.embedder.embed([String(long.prefix(512))]).vectors.values()
        let short = try models.embedder.embed([String(long.prefix(7))]).vectors.values()
        try await TestServer.run(try models.served()) { server in
            func ask(_ fields: (String, JSON)...) async throws -> TestResponse {
                try await server.post("/v1/embeddings", .object(JSONObject([("model", "vectors")] + fields)))
            }
            func vector(_ answer: TestResponse) -> [Float]? { answer.json["data"]?[0]?["embedding"]?.numbers }
            #expect(vector(try await ask(("input", "ferry"), ("prompt_name", "query"))) == asked)
            let unknown = try await ask(("input", "ferry"), ("prompt_name", "passage"))
            #expect(unknown.errorParam == "prompt_name" && unknown.status == 400)
            let refused = try await ask(("input", ["ferry", .string(long)]))
            #expect(refused.status == 400 && refused.errorCode == "context_length_exceeded")
            #expect(refused.errorParam == "input[1]")
            #expect(refused.json["error"]?["message"]?.string?.contains("600 tokens, 88 more than the 512") == true)
            #expect(vector(try await ask(("input", .string(long)), ("truncate_prompt_tokens", -1))) == cut)
            #expect(vector(try await ask(("input", .string(long)), ("truncate_prompt_tokens", 7))) == short)
        }
    }

    @Test(
        arguments: [
            (#""model": "tiny", "input": "x""#, "model", "model_not_suitable"),
            (#""model": "moods", "input": "x""#, "model", "model_not_suitable"),
            (#""model": "none", "input": "x""#, "model", "model_not_found"),
            (#""input": "x""#, "model", "missing_required_parameter"),
            (#""model": "vectors""#, "input", "missing_required_parameter"),
            (#""model": "vectors", "input": """#, "input", "invalid_value"),
            (#""model": "vectors", "input": []"#, "input", "invalid_value"),
            (#""model": "vectors", "input": ["a", ""]"#, "input[1]", "invalid_value"),
            (#""model": "vectors", "input": [1, 999]"#, "input", "invalid_value"),
            (#""model": "vectors", "input": {"text": "a"}"#, "input", "invalid_type"),
            (#""model": "vectors", "input": "x", "encoding_format": "bytes""#, "encoding_format", "unsupported_value"),
            (#""model": "vectors", "input": "x", "dimensions": 0"#, "dimensions", "invalid_value"),
            (
                #""model": "vectors", "input": "x", "truncate_prompt_tokens": 0"#, "truncate_prompt_tokens",
                "invalid_value"
            ),
            (#""model": "vectors", "input": "x", "dimension": 8"#, "dimension", "unknown_parameter"),
            (#""model": "vectors", "input": "x", "messages": []"#, "messages", "unsupported_parameter"),
        ])
    func refusesByName(fields: String, param: String, code: String) async throws {
        try await TestServer.run(try LabellingModels().served()) { server in
            let response = try await server.request("POST", "/v1/embeddings", body: "{\(fields)}")
            #expect(response.errorParam == param && response.errorCode == code, "\(response)")
            #expect(response.status == (code == "model_not_found" ? 404 : 400))
        }
    }

    @Test func boundsWhatARequestTakes() async throws {
        let configuration = ServerConfiguration(requestTimeout: .milliseconds(1))
        let texts: JSON = .array(Array(repeating: .string(String(repeating: "long ", count: 50)), count: 2048))
        try await TestServer.run(try LabellingModels().served(), configuration: configuration) { server in
            let late = try await server.post("/v1/embeddings", ["model": "vectors", "input": texts])
            #expect(late.status == 504 && late.errorCode == "request_timeout", "\(late)")
            let many: JSON = .array(Array(repeating: "x", count: 2049))
            let refused = try await server.post("/v1/embeddings", ["model": "vectors", "input": many])
            #expect(refused.status == 400 && refused.errorParam == "input", "\(refused)")
        }
    }
}
