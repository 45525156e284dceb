import Foundation
import Hummingbird
import MoruBase
import MoruModels

/// The Open Inference Protocol (KServe's v2) over REST, with Triton's binary tensor data and generate extensions.
///
/// | endpoint | |
/// |---|---|
/// | `GET /v2` | the server and its extensions |
/// | `GET /v2/health/live`, `GET /v2/health/ready` | whether it answers, and whether it takes requests |
/// | `GET /v2/models` | the names of the models |
/// | `GET /v2/models/{name}[/versions/{version}]` | what a model reads and gives |
/// | `GET .../ready` | whether the model takes requests |
/// | `POST .../infer` | generates, classifies or embeds |
/// | `POST .../generate`, `POST .../generate_stream` | continues a text |
struct OpenInferenceEndpoints: Sendable {
    let catalog: ModelCatalog
    let configuration: ServerConfiguration
    let readiness: ServerReadiness
    let labelling: Labelling

    /// The server.
    func server(_ request: Request, _ context: ServerContext) -> Response {
        Response([
            "name": "moru", "version": .string(MoruVersion.current),
            "extensions": ["binary_tensor_data", "generate", "model_repository"],
        ])
    }

    /// Whether the server answers.
    func live(_ request: Request, _ context: ServerContext) -> Response { Response(["live": true]) }

    /// Whether the server takes requests.
    func ready(_ request: Request, _ context: ServerContext) -> Response {
        let isReady = readiness.isReady
        return Response(["ready": .bool(isReady)], status: isReady ? .ok : .serviceUnavailable)
    }

    /// The names of the models.
    func models(_ request: Request, _ context: ServerContext) -> Response {
        Response(["models": .array(catalog.names.map { .string($0) })])
    }

    /// What is below `/v2/models/`.
    func model(_ request: Request, _ context: ServerContext) async throws -> Response {
        let path = OpenInferencePath(request.uri.path)
        let isRead = path.action == nil || path.action == .ready
        guard request.method == (isRead ? .get : .post) else {
            throw APIError.methodNotAllowed(request.method, request.uri.path, allowed: isRead ? "GET, HEAD" : "POST")
        }
        switch path.action {
        case nil: return Response(try await metadata(path))
        case .ready: return try ready(path)
        case .infer: return try await infer(path, request, context)
        case .generate: return try await generate(path, request, context, streams: false)
        case .generateStream: return try await generate(path, request, context, streams: true)
        }
    }

    private func metadata(_ path: OpenInferencePath) async throws(APIError) -> JSON {
        let lease = try await lease(path)
        let versions = catalog.versions(of: path.name)
        return .object(
            JSONObject(
                [
                    ("name", .string(path.name)), ("versions", .array(versions.map { .string($0) })),
                    ("platform", "moru"),
                ] + ModelSignature(lease.model.function).json))
    }

    /// Whether a model takes requests at once; one that is not loaded is loaded when it is asked something.
    private func ready(_ path: OpenInferencePath) throws(APIError) -> Response {
        let isLoaded = try catalog.isLoaded(try catalog.name(path.name, version: path.version))
        let isReady = readiness.isReady && isLoaded
        return Response(
            ["name": .string(path.name), "ready": .bool(isReady)], status: isReady ? .ok : .serviceUnavailable)
    }

    private func lease(_ path: OpenInferencePath) async throws(APIError) -> ModelLease {
        try await catalog.lease(try catalog.name(path.name, version: path.version))
    }

    private func infer(
        _ path: OpenInferencePath, _ request: Request, _ context: ServerContext
    ) async throws -> Response {
        let wire = try await inferenceRequest(request)
        let lease = try await lease(path)
        try ModelSignature(lease.model.function).check(wire.outputs)
        var answer = InferenceResponse(modelName: path.name, modelVersion: lease.model.version, outputs: [])
        switch lease.model.function {
        case .generator:
            let completion = try CompletionRequest(
                InferenceTexts(wire.inputs), parameters: wire.parameters, model: path.name)
            let run = try await AnswerRun(AnswerPlan(completion, for: lease), configuration, context)
            let (choices, usage) = try await run.collect()
            context.record.note(usage)
            answer.outputs = [
                OutputTensor("text", choices.map(\.text)), OutputTensor("finish_reason", choices.map(\.reason.name)),
            ]
            answer.parameters["prompt_tokens"] = .int(usage.promptTokens)
            answer.parameters["completion_tokens"] = .int(usage.completionTokens)
        case .classifier(let model) where model.configuration.place == .token:
            let inputs = try InferenceTexts(wire.inputs)
            guard case .texts = inputs else {
                throw APIError.wrongValue("inputs", "are token ids, and the model finds spans in texts")
            }
            let texts = try TextInputs(inputs, parameters: wire.parameters, allowing: [])
            let found = try await labelling.extract(texts, with: lease, context)
            answer.outputs = [OutputTensor("spans", found.results.map { JSON.array($0.map(\.json)).text() })]
            answer.parameters["prompt_tokens"] = .int(found.tokenCount)
        case .classifier(let model):
            let texts = try TextInputs(InferenceTexts(wire.inputs), parameters: wire.parameters, allowing: [.truncate])
            let labelled = try await labelling.classify(texts, with: lease, context)
            let head = model.configuration
            let said = labelled.results.map { head.classification($0).labels }
            switch head.problem {
            case .regression: break
            case .singleLabel: answer.outputs.append(OutputTensor("label", said.map { $0.first ?? "" }))
            case .multiLabel:
                answer.outputs.append(
                    OutputTensor("labels", said.map { JSON.array($0.map { .string($0) }).text() }))
            }
            answer.outputs.append(OutputTensor("scores", labelled.results.map(head.probabilities)))
            answer.parameters["prompt_tokens"] = .int(labelled.tokenCount)
        case .embedder:
            let texts = try TextInputs(
                InferenceTexts(wire.inputs), parameters: wire.parameters, allowing: [.truncate, .prompt])
            let labelled = try await labelling.embed(texts, with: lease, context)
            answer.outputs = [OutputTensor("embedding", labelled.results)]
            answer.parameters["prompt_tokens"] = .int(labelled.tokenCount)
        }
        return answer.response(to: wire)
    }

    /// The body, of a client that need not say that it is JSON.
    private func inferenceRequest(_ request: Request) async throws -> InferenceRequest {
        try request.checkTensorContent()
        var jsonCount: Int?
        if let name = InferenceResponse.jsonCountHeader, let text = request.headers[name] {
            guard let count = Int(text), count >= 0 else {
                throw APIError.wrongValue(name.rawName, "is '\(text)', which is not a number of bytes")
            }
            jsonCount = count
        }
        return try InferenceRequest(
            try await request.bytes(upTo: configuration.maximumBodyBytes), jsonCount: jsonCount)
    }

    private func generate(
        _ path: OpenInferencePath, _ request: Request, _ context: ServerContext, streams: Bool
    ) async throws -> Response {
        try request.checkTensorContent()
        let bytes = try await request.bytes(upTo: configuration.maximumBodyBytes)
        let wire = try GenerateRequest(try JSON.parse(bytes, source: "request body"), streams: streams)
        let lease = try await lease(path)
        let format = GenerateFormat(modelName: path.name, modelVersion: lease.model.version)
        let completion = try CompletionRequest(
            .texts([wire.text]), parameters: wire.parameters, model: path.name)
        return try await AnswerRun(AnswerPlan(completion, for: lease), configuration, context)
            .response(as: format, streams: streams, includingUsage: false, context)
    }
}

extension Request {
    /// Refuses a body that is said to be neither JSON nor tensors, or to be compressed.
    ///
    /// Triton's clients say nothing of what they send. A web page could do the same to post across origins without
    /// asking first, but its browser says where it comes from.
    fileprivate func checkTensorContent() throws(APIError) {
        let type = headers[.contentType]?.split(separator: ";").first?.lowercased()
        let isKnown = type == "application/json" || type == "application/octet-stream"
        guard isKnown || type == nil && headers[.origin] == nil else {
            throw .invalid(
                "unsupported_media_type",
                "The body's content type is \(type ?? "none"); send 'Content-Type: application/json', or "
                    + "application/octet-stream for binary tensors.", status: .unsupportedMediaType)
        }
    }
}

extension ExtractedSpan {
    /// The span as an element of `spans` has it; places are counted as Python counts characters.
    fileprivate var json: JSON {
        [
            "label": .string(label), "start": .int(start), "end": .int(end), "text": .string(text),
            "score": .shortest(score),
        ]
    }
}
