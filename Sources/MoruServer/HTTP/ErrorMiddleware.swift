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
            if rendered.status.code >= 500 {
                context.logger.error("\(error)", metadata: ["path": "\(request.uri.path)"])
            }
            return Response(rendered)
        }
    }
}
