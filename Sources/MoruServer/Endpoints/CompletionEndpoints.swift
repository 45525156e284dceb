import Hummingbird
import MoruBase

/// `POST /v1/chat/completions`, `POST /v1/completions` and `POST /v1/responses`.
struct CompletionEndpoints: Sendable {
    let catalog: ModelCatalog
    let configuration: ServerConfiguration

    /// Continues a conversation.
    func chat(_ request: Request, _ context: ServerContext) async throws -> Response {
        let wire = try ChatCompletionRequest(try await body(of: request))
        let lease = try await catalog.lease(wire.fields.model, user: wire.fields.client)
        let format = ChatCompletionFormat(
            head: AnswerHead(prefix: "chatcmpl-", model: lease.model), hasScores: wire.logProbabilities != nil)
        return try await respond(to: wire.fields, AnswerPlan(wire, for: lease), as: format, context)
    }

    /// Continues prompts.
    func completion(_ request: Request, _ context: ServerContext) async throws -> Response {
        let wire = try CompletionRequest(try await body(of: request))
        let lease = try await catalog.lease(wire.fields.model, user: wire.fields.client)
        let format = CompletionFormat(
            head: AnswerHead(prefix: "cmpl-", model: lease.model), hasScores: wire.logProbabilities != nil)
        return try await respond(to: wire.fields, AnswerPlan(wire, for: lease), as: format, context)
    }

    /// Continues a conversation, as a response.
    func response(_ request: Request, _ context: ServerContext) async throws -> Response {
        let wire = try ResponsesRequest(try await body(of: request))
        let lease = try await catalog.lease(wire.fields.model, user: wire.fields.client)
        let plan = try AnswerPlan(wire, for: lease)
        let format = ResponsesFormat(wire, plan, head: AnswerHead(prefix: "resp_", model: lease.model))
        return try await respond(to: wire.fields, plan, as: format, context)
    }

    private func body(of request: Request) async throws -> JSON {
        try await request.json(upTo: configuration.maximumBodyBytes)
    }

    private func respond(
        to fields: GenerationFields, _ plan: AnswerPlan, as format: some AnswerFormat, _ context: ServerContext
    ) async throws -> Response {
        try await AnswerRun(plan, configuration, context)
            .response(as: format, streams: fields.streams, includingUsage: fields.includesUsage, context)
    }
}
