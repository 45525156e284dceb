import MoruBase

/// Which model a request is for, and whose request it is.
struct ModelChoice: Sendable {
    /// The name of a model or a route.
    var name: String
    /// Decides where a route leads that keeps a user's requests together; empty for nobody in particular.
    var user: String

    /// Reads `model`, which must be there, and `user`.
    init(_ request: inout RequestObject) throws(APIError) {
        guard let name = try request.string("model") else { throw .missing("model") }
        (self.name, user) = (name, try request.string("user") ?? "")
    }
}
