import Hummingbird
import NIOCore

/// Who may change what a server serves: whoever has the administrator's key, or the API key where there is no other; or,
/// where there is no key at all, whoever asks from the machine itself.
struct AdminAccess: Sendable {
    /// The administrator's key, or else the API key.
    let key: String?

    init(_ configuration: ServerConfiguration) { key = configuration.adminKey ?? configuration.apiKey }

    /// Whether a path is one that this decides about, so that the API key is not asked for.
    static func decides(about path: String) -> Bool {
        path.hasPrefix("/admin/") || path.hasPrefix(RepositoryEndpoints.models)
            || ["/v1/load_lora_adapter", "/v1/unload_lora_adapter"].contains(path)
    }

    /// A handler that only those get to who may.
    func guarding(
        _ handler: @escaping @Sendable (Request, ServerContext) async throws -> Response
    ) -> @Sendable (Request, ServerContext) async throws -> Response {
        { request, context in
            try check(request, context)
            return try await handler(request, context)
        }
    }

    private func check(_ request: Request, _ context: ServerContext) throws(APIError) {
        if let key {
            guard APIKeyMiddleware.carries(request, key) else {
                throw APIError(
                    status: .unauthorized, type: "authentication_error", code: "invalid_api_key", param: nil,
                    message: "Changing what is served requires the administrator's key; send "
                        + "'Authorization: Bearer KEY'.", headers: [.wwwAuthenticate: "Bearer"])
            }
            return
        }
        // A web page elsewhere may have a name of its own lead to this machine
        guard Self.isLoopback(context.channel.remoteAddress), Self.namesLoopback(request.head.authority) else {
            throw APIError(
                status: .forbidden, type: "authentication_error", code: "loopback_only", param: nil,
                message: "Without a key, what is served can be changed from the server's own machine only; "
                    + "set MORU_ADMIN_KEY or MORU_API_KEY for the server.")
        }
    }

    static func isLoopback(_ address: SocketAddress?) -> Bool {
        guard let address else { return false }
        if case .unixDomainSocket = address { return true }
        guard let text = address.ipAddress else { return false }
        return text == "::1" || text.hasPrefix("127.") || text.lowercased().hasPrefix("::ffff:127.")
    }

    static func namesLoopback(_ authority: String?) -> Bool {
        guard let authority = authority?.lowercased() else { return true }
        let host =
            authority.hasPrefix("[")
            ? String(authority.dropFirst().prefix { $0 != "]" })
            : String(authority.prefix { $0 != ":" })
        let isNumber = host.split(separator: ".", omittingEmptySubsequences: false).allSatisfy { UInt8($0) != nil }
        return host == "localhost" || host == "::1" || (isNumber && host.hasPrefix("127."))
    }
}
