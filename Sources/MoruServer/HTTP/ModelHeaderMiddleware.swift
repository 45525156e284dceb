import Foundation
import HTTPTypes
import Hummingbird

/// Names the model that answered, and its version, in `x-moru-model` and `x-moru-version`.
struct ModelHeaderMiddleware: RouterMiddleware {
    typealias Context = ServerContext

    func handle(
        _ request: Request, context: Context, next: (Request, Context) async throws -> Response
    ) async throws -> Response {
        var response = try await next(request, context)
        for (header, value) in [
            ("x-moru-model", context.record.model), ("x-moru-version", context.record.modelVersion),
        ] {
            guard let name = HTTPField.Name(header), let value else { continue }
            response.headers[name] = value.addingPercentEncoding(withAllowedCharacters: Self.plain) ?? ""
        }
        return response
    }

    /// What a header's value may hold as it is; the rest is percent-encoded.
    private static let plain = CharacterSet(charactersIn: "!"..."~").subtracting(CharacterSet(charactersIn: "%"))
}
