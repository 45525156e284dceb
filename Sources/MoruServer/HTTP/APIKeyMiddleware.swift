import Hummingbird

/// Admits requests that carry the server's key.
struct APIKeyMiddleware: RouterMiddleware {
    typealias Context = ServerContext

    let key: String
    private static let openPaths: Set = ["/health", "/metrics", "/v2/health/live", "/v2/health/ready"]

    func handle(
        _ request: Request, context: Context, next: (Request, Context) async throws -> Response
    ) async throws -> Response {
        // Whether something answers and how it fares is no secret, and is asked by machines that have no key.
        let path = request.uri.path
        if Self.openPaths.contains(path) || AdminAccess.decides(about: path) { return try await next(request, context) }
        guard Self.carries(request, key) else {
            throw APIError(
                status: .unauthorized, type: "authentication_error", code: "invalid_api_key", param: nil,
                message: "This server requires its API key; send 'Authorization: Bearer KEY'.",
                headers: [.wwwAuthenticate: "Bearer"])
        }
        return try await next(request, context)
    }

    /// Whether a request carries a key.
    static func carries(_ request: Request, _ key: String) -> Bool {
        guard let given = request.headers[.authorization], given.lowercased().hasPrefix("bearer ") else { return false }
        return areSame(Array(given.utf8.dropFirst(7)), Array(key.utf8))
    }

    /// Compares in a time that does not tell how much agrees.
    private static func areSame(_ a: [UInt8], _ b: [UInt8]) -> Bool {
        guard a.count == b.count else { return false }
        return zip(a, b).reduce(0) { $0 | ($1.0 ^ $1.1) } == 0
    }
}
