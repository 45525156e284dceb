import Hummingbird
import MoruBase
import MoruModels

/// `POST /v1/embeddings` and `POST /v1/moderations`, as OpenAI's API has them, and `POST /classify`, as vLLM has it.
struct LabellingEndpoints: Sendable {
    let catalog: ModelCatalog
    let configuration: ServerConfiguration
    let labelling: Labelling

    /// The vectors of texts.
    func embeddings(_ request: Request, _ context: ServerContext) async throws -> Response {
        let wire = try EmbeddingRequest(try await request.json(upTo: configuration.maximumBodyBytes))
        let lease = try await catalog.lease(wire.model)
        let embedder = try lease.model.embedding()
        if let dimensions = wire.dimensions { try embedder.check(dimensions: dimensions, of: lease.model.name) }
        let labelled = try await labelling.embed(wire.texts, with: lease, context)
        let size = wire.dimensions ?? embedder.dimensions
        let answer = EmbeddingAnswer(
            model: lease.model.name, vectors: labelled.results.map { embedder.shortened($0, to: size) },
            format: wire.format, tokenCount: labelled.tokenCount)
        return await answer.response()
    }

    /// The labels of texts.
    func classify(_ request: Request, _ context: ServerContext) async throws -> Response {
        let wire = try ClassificationRequest(try await request.json(upTo: configuration.maximumBodyBytes))
        let lease = try await catalog.lease(wire.model)
        let head = try lease.model.classifying().configuration
        let labelled = try await labelling.classify(wire.texts, with: lease, context)
        let data = labelled.results.enumerated().map { index, logits in
            head.classification(at: index, logits, usesActivation: wire.usesActivation)
        }
        return Response(AnswerHead(prefix: "classify-", model: lease.model).list(data, tokenCount: labelled.tokenCount))
    }

    /// Whether texts are in the categories of a classifier.
    func moderations(_ request: Request, _ context: ServerContext) async throws -> Response {
        let wire = try ModerationRequest(try await request.json(upTo: configuration.maximumBodyBytes))
        let lease = try await catalog.lease(wire.model)
        let rule = try ModerationRule(try lease.model.classifying().configuration, model: lease.model.name)
        let labelled = try await labelling.classify(wire.texts, with: lease, context)
        return Response([
            "id": .string(AnswerHead.identifier("modr-", length: 29)), "model": .string(lease.model.name),
            "results": .array(labelled.results.map(rule.result)),
        ])
    }

}

extension AnswerHead {
    /// A list of results, one for each text.
    func list(_ data: [JSON], tokenCount: Int) -> JSON {
        object("list", [("data", .array(data)), ("usage", TokenUsage(promptTokens: tokenCount).textJSON)])
    }
}

extension TextEmbedder {
    /// Refuses a number of elements that vectors cannot be cut to.
    fileprivate func check(dimensions: Int, of model: String) throws(APIError) {
        guard !canShorten(to: dimensions) else { return }
        let reason =
            dimensions > self.dimensions
            ? "the vectors of '\(model)' have \(self.dimensions) elements"
            : shorterDimensions.map { sizes in
                "the vectors of '\(model)' were trained to be cut to \(sizes.map(String.init).joined(separator: ", "))"
            }
                ?? "the vectors of '\(model)' have \(self.dimensions) elements and were not trained to be cut "
                + "('is_matryoshka' in its config.json would say so)"
        throw .unsupportedValue("dimensions", "is \(dimensions), and \(reason)")
    }
}
