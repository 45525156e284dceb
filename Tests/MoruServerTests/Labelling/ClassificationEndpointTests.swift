import MoruBase
import MoruModels
import MoruTestKit
import Testing

@testable import MoruServer

@Suite(.tags(.live)) struct ClassificationEndpointTests {
    private let texts = ["the harbour was quiet", "you are a fool", "x"]
    private var input: JSON { .array(texts.map { .string($0) }) }

    @Test func labelsAreThoseOfTheModel() async throws {
        let models = try LabellingModels()
        try await TestServer.run(try models.served()) { server in
            for (name, model) in [("moods", models.single), ("insults", models.many), ("fit", models.scorer)] {
                let expected = try model.classify(texts)
                let answer = try await server.post("/classify", ["model": .string(name), "input": input])
                #expect(answer.status == 200 && answer.json["object"] == "list")
                #expect(answer.json["id"]?.string?.hasPrefix("classify-") == true)
                #expect(answer.json["usage"]?["prompt_tokens"]?.int == texts.joined().utf8.count)
                let data = try #require(answer.json["data"]?.array)
                #expect(data.count == texts.count)
                for (index, (element, expected)) in zip(data, expected).enumerated() {
                    #expect(element["index"]?.int == index)
                    #expect(element["label"]?.string == expected.scores[0].label)
                    #expect(element["num_classes"]?.int == model.configuration.labels.count)
                    #expect(element["labels"]?.array?.compactMap(\.string) == expected.labels)
                    for score in expected.scores {
                        #expect(element["scores"]?[score.label]?.double.map(Float.init) == score.score)
                    }
                    let named = model.configuration.labels.map { element["scores"]?[$0] }
                    #expect(element["probs"]?.array == named)
                }
            }
        }
    }

    @Test func logitsOnWishAndRefusals() async throws {
        let models = try LabellingModels()
        try await TestServer.run(try models.served()) { server in
            let body: JSON = ["model": "insults", "input": input, "use_activation": false]
            let raw = try await server.post("/classify", body).json["data"]?[1]?["probs"]?.numbers ?? []
            let expected = try models.many.classify([texts[1]])[0].scores
            let labels = models.many.configuration.labels
            for (label, logit) in zip(labels, raw) {
                let score = try #require(expected.first { $0.label == label }).score
                expectClose([models.many.configuration.probabilities([logit])[0]], [score], absolute: 1e-6)
            }
            for (fields, param) in [
                (#""model": "tiny", "input": "x""#, "model"), (#""model": "vectors", "input": "x""#, "model"),
                (#""model": "names", "input": "x""#, "model"),
                (#""model": "moods", "input": "x", "softmax": true"#, "softmax"),
                (#""model": "moods", "input": "x", "top_k": 1"#, "top_k"),
                (
                    #""model": "moods", "input": "0123456789012345678901234567890123456789012345678901234567890123456789""#,
                    "input"
                ),
            ] {
                let refused = try await server.request("POST", "/classify", body: "{\(fields)}")
                #expect(refused.status == 400 && refused.errorParam == param, "\(refused)")
            }
        }
    }

    @Test func moderationsFlagWhatIsNotHarmless() async throws {
        let models = try LabellingModels()
        try await TestServer.run(try models.served()) { server in
            let answer = try await server.post("/v1/moderations", ["model": "moods", "input": input])
            #expect(answer.status == 200 && answer.json["id"]?.string?.hasPrefix("modr-") == true)
            let results = try #require(answer.json["results"]?.array)
            for (result, expected) in zip(results, try models.single.classify(texts)) {
                #expect(result["categories"]?.object?.keys == ["bad", "worse"])
                #expect(result["flagged"]?.bool == (expected.labels != ["OK"]))
                for score in expected.scores where score.label != "OK" {
                    #expect(result["category_scores"]?[score.label]?.double.map(Float.init) == score.score)
                    #expect(result["categories"]?[score.label]?.bool == expected.labels.contains(score.label))
                }
            }
            // A message's part is as good as a text
            let part: JSON = [["type": "text", "text": .string(texts[1])]]
            let other = try await server.post("/v1/moderations", ["model": "moods", "input": part])
            #expect(other.json["model"] == "moods" && other.json["results"] == .array([results[1]]))
            let several = try await server.post("/v1/moderations", ["model": "insults", "input": .string(texts[0])])
            let labels = try models.many.classify([texts[0]])[0].labels
            #expect(several.json["results"]?[0]?["flagged"]?.bool == !labels.isEmpty)
            #expect(several.json["results"]?[0]?["categories"]?.object?.count == 2)
            for (fields, param) in [
                (#""model": "fit", "input": "x""#, "model"), (#""model": "vectors", "input": "x""#, "model"),
                (#""input": [{"type": "image_url", "image_url": {"url": "x"}}]"#, "input[0].type"),
                (#""input": "x""#, "model"), (#""input": [1]"#, "input[0]"), (#""input": 1"#, "input"),
                (#""inputs": "x""#, "input"),
            ] {
                let refused = try await server.request("POST", "/v1/moderations", body: "{\(fields)}")
                #expect(refused.status == 400 && refused.errorParam == param, "\(refused)")
            }
        }
    }

    @Test func theFirstModelModeratesUnlessAnotherIsNamed() async throws {
        let models = try LabellingModels()
        try await TestServer.run([ServedModel(name: "moods", .classifier(models.single))]) { server in
            let answer = try await server.post("/v1/moderations", ["input": "x"])
            #expect(answer.status == 200 && answer.json["model"] == "moods")
        }
    }

    @Test(arguments: [
        (["toxic", "non-toxic"], ["toxic"]), (["SAFE", "INJECTION"], ["INJECTION"]),
        (["H", "OK", "V"], ["H", "V"]), (["hate", "not_hate"], ["hate"]), (["spam", "ham"], ["spam"]),
    ])
    func harmlessLabelsAreNoCategories(labels: [String], categories: [String]) throws {
        let rule = try ModerationRule(HeadConfiguration(.sequence, labels: labels), model: "m")
        #expect(rule.result(labels.map { _ in 0 })["categories"]?.object?.keys == categories)
    }

    @Test func whatIsHarmlessMustBeKnown() throws {
        let error = #expect(throws: APIError.self) {
            try ModerationRule(HeadConfiguration(.sequence, labels: ["LABEL_0", "LABEL_1"]), model: "m")
        }
        #expect(error?.code == "model_not_suitable" && error?.message.contains("'LABEL_0', 'LABEL_1'") == true)
        // Where each label is decided for itself, none needs to be harmless
        let many = HeadConfiguration(.sequence, labels: ["a", "b"], problem: .multiLabel)
        let result = try ModerationRule(many, model: "m").result([-1, 0])
        #expect(result["flagged"] == true && result["categories"] == ["a": false, "b": true])
    }
}
