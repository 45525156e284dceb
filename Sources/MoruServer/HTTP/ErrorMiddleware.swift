import Hummingbird
import MoruBase

/// Turns whatever a request throws into a response in OpenAI's shape, or that of the Open Inference
/// Protocol below `/v2`.
struct ErrorMiddleware: RouterMiddleware {
    typealias Context = ServerContext

    func handle(
        _ request: Request, context: Context, next: (Request, Context) async throws -> Response
    ) async throws -> Response {
        do {
            return try await next(request, context)
        } catch let error as HTTPError where error.status == .notFound {
            let places =
                request.isOpenInference
                ? "/v2, /v2/models and /v2/models/{name}/infer"
                : "/v1/models, /v1/chat/completions, /v1/completions and /health"
            return response(
                .invalid(
                    "unknown_url", "There is nothing at \(request.method) \(request.uri.path); see \(places).",
                    status: .notFound), to: request)
        } catch {
            let rendered = APIError(error)
            context.note(error, rendered)
            return response(rendered, to: request)
        }
    }

    private func response(_ error: APIError, to request: Request) -> Response {
        request.isOpenInference
            ? Response(error.openInferenceJSON, status: error.status, headers: error.headers) : Response(error)
    }
}

extension Request {
    /// Whether its path is one of the Open Inference Protocol, whose errors have a shape of their own.
    fileprivate var isOpenInference: Bool {
        // Reranking has Cohere's path, and errors as everything else
        uri.path == "/v2" || uri.path.hasPrefix("/v2/") && uri.path != "/v2/rerank"
    }
}

extension ServerContext {
    /// Logs a failure that is the server's own; what is the client's fault, the request's line tells.
    func note(_ error: any Error, _ rendered: APIError) {
        if rendered.status == .internalServerError { logger.error("\(error)") }
    }
}
