import MoruBase
import MoruModels
import MoruTestKit
import Testing

@testable import MoruServer

@Suite(.tags(.live)) struct RankingEndpointTests {
    private let query = "when does it leave"
    private let documents = ["the harbour was quiet", "a ferry leaves at seven", "x", "the old clock"]
    private var list: JSON { .array(documents.map { .string($0) }) }

    @Test func aCrossEncoderReadsPairs() async throws {
        let models = try LabellingModels()
        let expected = try models.scorer.score(documents.map { (query, $0) })
        #expect(Set(expected).count == expected.count && expected.allSatisfy { 0 < $0 && $0 < 1 })
        // Which text is which makes a difference, since tokens of the second are of another type
        #expect(try models.scorer.score([(documents[0], query)]) != [expected[0]])
        try await TestServer.run(try models.served()) { server in
            for path in ["/score", "/v1/score"] {
                let answer = try await server.post(path, ["model": "fit", "text_1": .string(query), "text_2": list])
                #expect(answer.status == 200 && answer.json["object"] == "list", "\(answer)")
                #expect(answer.json["data"]?.array?.compactMap { $0["score"]?.double.map(Float.init) } == expected)
                let tokens = documents.reduce(0) { $0 + query.utf8.count + $1.utf8.count }
                #expect(answer.json["usage"]?["prompt_tokens"]?.int == tokens)
            }
            let each = try await server.post(
                "/score", ["model": "fit", "text_1": .array([.string(query), "x"]), "text_2": ["x", "x"]])
            let pairs = try models.scorer.score([(query, "x"), ("x", "x")])
            #expect(each.json["data"]?.array?.compactMap { $0["score"]?.double.map(Float.init) } == pairs)
            let order = expected.indices.sorted { expected[$0] > expected[$1] }
            let body: JSON = ["model": "fit", "query": .string(query), "documents": list, "top_n": 3]
            for path in ["/rerank", "/v1/rerank", "/v2/rerank"] {
                let answer = try await server.post(path, body)
                let results = try #require(answer.json["results"]?.array)
                #expect(results.map { $0["index"]?.int } == order.prefix(3).map { $0 })
                #expect(results[0]["relevance_score"]?.double.map(Float.init) == expected[order[0]])
                let isCohere = path == "/v2/rerank"
                let document: JSON? = isCohere ? nil : ["text": .string(documents[order[0]])]
                #expect(results[0]["document"] == document)
                #expect((answer.json["meta"]?["api_version"]?["version"] == "2") == isCohere)
            }
        }
    }

    @Test func anEmbedderComparesVectors() async throws {
        let models = try LabellingModels()
        func cosines(_ first: TextEmbedder.Result, _ second: TextEmbedder.Result) -> [Float] {
            let (a, b) = (first.vectors.values(), second.vectors.values())
            return documents.indices.map { row in (0..<32).reduce(0) { $0 + a[$1] * b[row * 32 + $1] } }
        }
        let plain = cosines(try models.embedder.embed([query]), try models.embedder.embed(documents))
        // Where the model has prompts for queries and documents, they are used to rank
        let ranked = cosines(
            try models.embedder.embed([query], prompt: "query"),
            try models.embedder.embed(documents, prompt: "document"))
        try await TestServer.run(try models.served()) { server in
            let scores = try await server.post(
                "/score", ["model": "vectors", "text_1": .string(query), "text_2": list])
            let found = scores.json["data"]?.array?.compactMap { $0["score"]?.double.map(Float.init) } ?? []
            expectClose(found, plain, absolute: 1e-6)
            let body: JSON = [
                "model": "vectors", "query": .string(query),
                "documents": .array(documents.map { ["text": .string($0)] }),
                "return_documents": false,
            ]
            let results = try await server.post("/rerank", body).json["results"]?.array ?? []
            let order = ranked.indices.sorted { ranked[$0] > ranked[$1] }
            #expect(results.map { $0["index"]?.int } == order.map { $0 })
            expectClose(
                results.compactMap { $0["relevance_score"]?.double.map(Float.init) }, order.map { ranked[$0] },
                absolute: 1e-6)
            #expect(results.allSatisfy { $0["document"] == nil })
        }
    }

    @Test(arguments: [
        ("/rerank", #""model": "fit", "documents": ["a"]"#, "query"),
        ("/rerank", #""model": "fit", "query": "a", "documents": []"#, "documents"),
        ("/rerank", #""model": "fit", "query": "a", "documents": ["b", 1]"#, "documents[1]"),
        ("/rerank", #""model": "fit", "query": "a", "documents": [{"title": "b"}]"#, "documents[0].text"),
        ("/rerank", #""model": "fit", "query": "a", "documents": ["b"], "top_n": -1"#, "top_n"),
        (
            "/rerank", #""model": "fit", "query": "a", "documents": ["b"], "max_tokens_per_doc": 9"#,
            "max_tokens_per_doc"
        ),
        ("/rerank", #""model": "fit", "query": "a", "documents": ["b"], "topn": 1"#, "topn"),
        ("/rerank", #""model": "moods", "query": "a", "documents": ["b"]"#, "model"),
        ("/rerank", #""model": "tiny", "query": "a", "documents": ["b"]"#, "model"),
        ("/score", #""model": "fit", "text_1": ["a", "b"], "text_2": "c""#, "text_1"),
        ("/score", #""model": "fit", "text_1": "a""#, "text_2"),
        ("/score", #""model": "fit", "text_1": "", "text_2": """#, "text_2"),
    ])
    func refusesByName(path: String, fields: String, param: String) async throws {
        try await TestServer.run(try LabellingModels().served()) { server in
            let response = try await server.request("POST", path, body: "{\(fields)}")
            #expect(response.status == 400 && response.errorParam == param, "\(response)")
        }
    }

    @Test func longPairsAreRefusedOrCut() async throws {
        let models = try LabellingModels()
        let long = String(repeating: "again ", count: 20)
        let cut = try models.scorer.score([(query, long)], truncates: true)
        try await TestServer.run(try models.served()) { server in
            let body: [(String, JSON)] = [
                ("model", "fit"), ("query", .string(query)), ("documents", .array(["x", .string(long)])),
            ]
            let refused = try await server.post("/rerank", .object(JSONObject(body)))
            #expect(refused.status == 400 && refused.errorCode == "context_length_exceeded")
            #expect(refused.errorParam == "documents[1]", "\(refused)")
            #expect(refused.json["error"]?["message"]?.string?.contains("138 tokens, 74 more than the 64") == true)
            let answer = try await server.post(
                "/rerank", .object(JSONObject(body + [("truncate_prompt_tokens", -1)])))
            let second = answer.json["results"]?.array?.first { $0["index"] == 1 }
            #expect(second?["relevance_score"]?.double.map(Float.init) == cut[0])
        }
    }
}
