import Hummingbird
import MoruBase

/// `GET /health`, `GET /v1/models` and `GET /v1/models/{id}`.
struct ModelEndpoints: Sendable {
    let catalog: ModelCatalog

    /// Whether the server answers, and for which models.
    func health(_ request: Request, _ context: ServerContext) -> Response {
        Response(["status": "ok", "models": .array(catalog.names.map { .string($0) })])
    }

    /// All models.
    func all(_ request: Request, _ context: ServerContext) -> Response { Response(catalog.json) }

    /// One model. Its name may have slashes, so it is all of the rest of the path.
    func one(_ request: Request, _ context: ServerContext) throws -> Response {
        let path = request.uri.path.dropFirst("/v1/models/".count)
        return Response(try catalog.json(of: path.removingPercentEncoding ?? String(path)))
    }
}
