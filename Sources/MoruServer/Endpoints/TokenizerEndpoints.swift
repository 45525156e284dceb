import Hummingbird
import MoruBase
import MoruText

/// `POST /tokenize`, `POST /detokenize` and `GET /tokenizer_info`, as vLLM has them: clients that score texts, such as
/// the lm-eval harness, then need no tokenizer of their own.
///
/// `model` may be left out, for the first one.
struct TokenizerEndpoints: Sendable {
    let catalog: ModelCatalog
    let configuration: ServerConfiguration

    /// The ids of a text, `prompt`, or of a conversation, `messages`; see ``TokenizeRequest``.
    func tokenize(_ request: Request, _ context: ServerContext) async throws -> Response {
        var fields = try RequestObject(try await request.json(upTo: configuration.maximumBodyBytes))
        let lease = try await lease(&fields)
        let wire = try TokenizeRequest(&fields)
        let tokenizer = lease.model.tokenizer
        let ids = try wire.ids(with: lease.model)
        return Response([
            "count": .int(ids.count), "max_model_len": .int(lease.model.contextLength),
            "tokens": .array(ids.map { .int(Int($0)) }),
            "token_strs": wire.returnsStrings
                ? .array(ids.map { .string(tokenizer.piece($0) ?? "") }) : .null,
        ])
    }

    /// The text of ids: `tokens`.
    func detokenize(_ request: Request, _ context: ServerContext) async throws -> Response {
        var fields = try RequestObject(try await request.json(upTo: configuration.maximumBodyBytes))
        let lease = try await lease(&fields)
        let value = try fields.required("tokens")
        try fields.finish()
        let size = lease.model.vocabularySize
        guard let elements = value.array else {
            throw APIError.wrongType("tokens", expected: "an array of token ids", found: value)
        }
        var ids: [Int32] = []
        for (place, element) in elements.enumerated() {
            guard let id = element.int, (0..<size).contains(id) else {
                throw APIError.wrongValue("tokens[\(place)]", "is not a token id; the model's ids are below \(size)")
            }
            ids.append(Int32(id))
        }
        return Response(["prompt": .string(lease.model.tokenizer.decode(ids))])
    }

    /// What is known of the first model's tokenizer.
    func info(_ request: Request, _ context: ServerContext) async throws -> Response {
        let model = try await catalog.lease(catalog.defaultName).model
        let template = try? model.generating().generator.pretrained.chatTemplate
        let tokenizer = model.tokenizer
        func text(_ id: Int32?) -> JSON {
            id.map { .string(String(decoding: tokenizer.bytes(of: $0), as: UTF8.self)) } ?? .null
        }
        return Response([
            "model": .string(model.name), "chat_template": template.map { .string($0.source) } ?? .null,
            "bos_token": text(tokenizer.beginOfSequence),
            "eos_token": text(tokenizer.endOfSequence), "max_model_len": .int(model.contextLength),
        ])
    }

    private func lease(_ fields: inout RequestObject) async throws(APIError) -> ModelLease {
        try await catalog.lease(try fields.string("model"))
    }
}
