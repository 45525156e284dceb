import Hummingbird
import MoruBase

/// Turns whatever a request throws into a response in OpenAI's shape.
struct ErrorMiddleware: RouterMiddleware {
    typealias Context = ServerContext

    func handle(
        _ request: Request, context: Context, next: (Request, Context) async throws -> Response
    ) async throws -> Response {
        do {
            return try await next(request, context)
        } catch let error as HTTPError where error.status == .notFound {
            return Response(
                .invalid(
                    "unknown_url",
                    "There is nothing at \(request.method) \(request.uri.path); see /v1/models, "
                        + "/v1/chat/completions, /v1/completions and /health.", status: .notFound))
        } catch {
            let rendered = APIError(error)
            context.note(error, rendered)
            return Response(rendered)
        }
    }
}

extension ServerContext {
    /// Logs a failure that is the server's own; what is the client's fault, the request's line tells.
    func note(_ error: any Error, _ rendered: APIError) {
        if rendered.status == .internalServerError { logger.error("\(error)") }
    }
}
