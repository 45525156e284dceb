import MoruBase
import MoruModels
import MoruTestKit
import Testing

@testable import MoruServer

/// Classifiers and embedders, and versions of models, in the Open Inference Protocol.
@Suite(.tags(.live)) struct LabellingInferenceTests {
    private let files = ModelFiles()
    private let texts = ["abc", "a longer text", "z"]

    private func infer(_ server: TestServer, _ model: String, _ parameters: JSON = [:]) async throws -> TestResponse {
        let data = JSON.array(texts.map { .string($0) })
        return try await server.post(
            "/v2/models/\(model)/infer",
            [
                "inputs": [["name": "text", "shape": [3], "datatype": "BYTES", "data": data]],
                "parameters": parameters,
            ])
    }

    @Test func classifiesAsTheModelDoes() async throws {
        let path = try files.classifier("head", on: try files.llama("base", seed: 4))
        let expected = try HeadedModel.load(path).classify(texts)
        let catalog = try files.catalog([files.specification("head", path)])
        let answer = try await TestServer.run(catalog) { server in
            let metadata = try await server.request("GET", "/v2/models/head").json
            #expect(metadata["parameters"]?["labels"] == ["no", "yes"], "\(metadata)")
            #expect(metadata["outputs"]?[1] == ["name": "scores", "datatype": "FP32", "shape": [-1, 2]])
            let refused = try await infer(server, "head", ["max_tokens": 3])
            #expect(refused.status == 400, "\(refused)")
            #expect(refused.json["error"]?.string?.contains("'parameters.max_tokens'") == true, "\(refused)")
            return try await infer(server, "head")
        }
        #expect(answer.status == 200, "\(answer)")
        let outputs = answer.json["outputs"]
        #expect(outputs?[0]?["data"]?.array?.compactMap(\.string) == expected.map { $0.labels[0] })
        #expect(outputs?[1]?["shape"] == [3, 2])
        let scores = outputs?[1]?["data"]?.array?.compactMap { $0.double.map { Float($0) } } ?? []
        for (place, text) in expected.enumerated() {
            let told = Dictionary(uniqueKeysWithValues: text.scores.map { ($0.label, $0.score) })
            #expect(Array(scores[place * 2..<place * 2 + 2]) == ["no", "yes"].map { told[$0] })
        }
    }

    @Test func findsWhatTheModelFinds() async throws {
        let base = try files.llama("base", seed: 4)
        let path = files.path + "/tagger"
        let head = HeadConfiguration(.token, labels: ["O", "B-A", "I-A", "B-B"])
        try HeadedModel.start(base, head: head, seed: 6).save(to: path)
        let expected = try HeadedModel.load(path).extract(texts)
        #expect(expected.contains { !$0.isEmpty }, "the test needs something that is found")
        let catalog = try files.catalog([files.specification("tagger", path)])
        let answer = try await TestServer.run(catalog) { server in
            let ids = try await server.post(
                "/v2/models/tagger/infer",
                ["inputs": [["name": "input_ids", "shape": [2], "datatype": "INT32", "data": [97, 98]]]])
            #expect(ids.status == 400, "\(ids)")
            return try await infer(server, "tagger")
        }
        #expect(answer.json["outputs"]?[0]?["name"] == "spans", "\(answer)")
        let found = answer.json["outputs"]?[0]?["data"]?.array?.compactMap(\.string) ?? []
        try #require(found.count == 3)
        for (text, spans) in zip(found, expected) {
            let told = try JSON.parse(text, source: "spans").array ?? []
            #expect(told.compactMap { $0["label"]?.string } == spans.map(\.label))
            #expect(told.compactMap { $0["start"]?.int } == spans.map(\.start))
            #expect(told.compactMap { $0["end"]?.int } == spans.map(\.end))
            #expect(told.compactMap { $0["score"]?.double.map { Float($0) } } == spans.map(\.score))
        }
    }

    @Test func embedsAsTheModelDoes() async throws {
        let path = try files.encoder("bert")
        let expected = try TextEmbedder.load(path).embed(texts).vectors
        let catalog = try files.catalog([files.specification("bert", path)])
        let answer = try await TestServer.run(catalog) { server in
            let long = JSON.string(String(repeating: "a", count: 100))
            for truncates in [false, true] {
                let cut = try await server.post(
                    "/v2/models/bert/infer",
                    [
                        "inputs": [["name": "input-0", "shape": [1], "datatype": "BYTES", "data": [long]]],
                        "parameters": ["truncate": .bool(truncates)],
                    ])
                #expect(cut.status == (truncates ? 200 : 400), "\(cut)")
            }
            return try await infer(server, "bert")
        }
        #expect(answer.status == 200, "\(answer)")
        #expect(answer.json["outputs"]?[0]?["shape"] == [3, 32])
        let values = answer.json["outputs"]?[0]?["data"]?.array?.compactMap { $0.double.map { Float($0) } }
        #expect(values == expected.values())
    }

    @Test func versionsAreModelsOfTheirOwn() async throws {
        let catalog = try files.catalog([
            files.specification("support", try files.llama("a", seed: 1)),
            files.specification("support@2", try files.llama("b", seed: 2)),
        ])
        try await TestServer.run(catalog) { server in
            let idle = try await server.request("GET", "/v2/models/support/versions/2/ready")
            #expect(idle.status == 503 && idle.json["ready"] == false, "\(idle)")
            let metadata = try await server.request("GET", "/v2/models/support").json
            #expect(metadata["versions"] == ["1", "2"], "\(metadata)")
            let parameters: JSON = ["max_tokens": 12, "temperature": 2, "seed": 1]
            let first = try await infer(server, "support/versions/1", parameters)
            let second = try await infer(server, "support/versions/2", parameters)
            #expect(first.json["model_version"] == "1" && second.json["model_version"] == "2")
            #expect(first.json["outputs"] != second.json["outputs"])
            #expect(try await infer(server, "support", parameters).json["outputs"] == first.json["outputs"])
            let named = try await infer(server, "support@2", parameters)
            #expect(named.json["outputs"] == second.json["outputs"])
            let missing = try await infer(server, "support/versions/3", parameters)
            #expect(missing.status == 404, "\(missing)")
        }
    }
}
