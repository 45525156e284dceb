import Hummingbird
import MoruBase
import MoruModels

/// `POST /score`, as vLLM has it, and `POST /rerank`, as Jina, Cohere and vLLM have it.
///
/// A cross-encoder (a classifier of one output) reads the texts of a pair together; of an embedder it is the cosine of
/// their vectors.
struct RankingEndpoints: Sendable {
    let catalog: ModelCatalog
    let configuration: ServerConfiguration
    let labelling: Labelling

    /// How well pairs of texts fit.
    func score(_ request: Request, _ context: ServerContext) async throws -> Response {
        let wire = try ScoreRequest(try await body(of: request))
        let lease = try await catalog.lease(wire.model)
        let labelled = try await labelling.score(wire.pairs, with: lease, context)
        let data = labelled.results.enumerated().map { index, row -> JSON in
            ["index": .int(index), "object": "score", "score": .shortest(row[0])]
        }
        return Response(AnswerHead(prefix: "score-", model: lease.model).list(data, tokenCount: labelled.tokenCount))
    }

    /// The documents that answer a query best, the best first.
    func rerank(_ request: Request, _ context: ServerContext) async throws -> Response {
        let wire = try RerankRequest(try await body(of: request), returnsDocuments: true)
        return Response(.object(JSONObject(try await answer(wire, context).head)))
    }

    /// The same in the second version of Cohere's API, which repeats no documents and counts tokens in `meta`.
    func rerankV2(_ request: Request, _ context: ServerContext) async throws -> Response {
        let wire = try RerankRequest(try await body(of: request), returnsDocuments: false)
        let (head, tokenCount) = try await answer(wire, context)
        let meta: JSON = [
            "api_version": ["version": "2"], "tokens": ["input_tokens": .int(tokenCount), "output_tokens": 0],
        ]
        return Response(.object(JSONObject(head + [("meta", meta)])))
    }

    private func body(of request: Request) async throws -> JSON {
        try await request.json(upTo: configuration.maximumBodyBytes)
    }

    private func answer(
        _ wire: RerankRequest, _ context: ServerContext
    ) async throws -> (head: [(String, JSON)], tokenCount: Int) {
        let lease = try await catalog.lease(wire.model)
        var pairs = wire.pairs
        if case .embedder(let embedder) = lease.model.function {
            // As sentence-transformers' `encode_query` and `encode_document`
            let prompts = embedder.modules.prompts
            pairs.first.prompt = ["query"].first { prompts[$0] != nil }
            pairs.second.prompt = ["document", "passage", "corpus"].first { prompts[$0] != nil }
        }
        let labelled = try await labelling.score(pairs, with: lease, context)
        let scores = labelled.results.map { $0[0] }
        // Equal ones in the order in which they came
        let order = scores.indices.sorted { (-scores[$0], $0) < (-scores[$1], $1) }
        let results = order.prefix(wire.count ?? order.count).map { index -> JSON in
            var result: [(String, JSON)] = [("index", .int(index))]
            if wire.returnsDocuments { result.append(("document", ["text": .string(pairs.texts(index).1)])) }
            result.append(("relevance_score", .shortest(scores[index])))
            return .object(JSONObject(result))
        }
        let head: [(String, JSON)] = [
            ("id", .string(AnswerHead.identifier("rerank-", length: 29))), ("model", .string(lease.model.name)),
            ("usage", TokenUsage(promptTokens: labelled.tokenCount).textJSON), ("results", .array(results)),
        ]
        return (head, labelled.tokenCount)
    }
}
