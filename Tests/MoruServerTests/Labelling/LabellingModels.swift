import MoruBase
import MoruModels
import MoruServer
import MoruTestKit

/// The tiny models that the tests of embeddings, labels and scores ask.
struct LabellingModels: Sendable {
    let embedder: TextEmbedder
    let single: HeadedModel
    let many: HeadedModel
    let scorer: HeadedModel
    let tagger: HeadedModel

    init() throws {
        embedder = try TestModels.tinyEmbedder(
            contextLength: 512, fields: JSONObject([("matryoshka_dimensions", .array([8, 16]))]),
            prompts: ["query": "query: ", "document": "passage: "])
        single = try TestModels.tinyClassifier(HeadConfiguration(.sequence, labels: ["bad", "OK", "worse"]))
        many = try TestModels.tinyClassifier(
            HeadConfiguration(.sequence, labels: ["insult", "threat"], problem: .multiLabel))
        scorer = try TestModels.tinyClassifier(.regression())
        tagger = try TestModels.tinyClassifier(HeadConfiguration(.token, labels: ["O", "B-NAME"]))
    }

    /// All of them, and one that generates.
    func served() throws -> [ServedModel] {
        try TestServer.tinyModels() + [
            ServedModel(name: "vectors", .embedder(embedder)), ServedModel(name: "moods", .classifier(single)),
            ServedModel(name: "insults", .classifier(many)), ServedModel(name: "fit", .classifier(scorer)),
            ServedModel(name: "names", .classifier(tagger)),
        ]
    }
}

extension JSON {
    /// An array's numbers.
    var numbers: [Float] { (array ?? []).compactMap { $0.double.map(Float.init) } }
}
