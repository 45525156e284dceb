import AsyncHTTPClient
import Foundation
import MoruBase
import NIOCore

/// Asks a running server to change what it serves.
public struct AdminClient: Sendable {
    private let url: String
    private let key: String?

    /// A client of the server at a URL such as `http://127.0.0.1:8080`.
    ///
    /// - Parameter key: The administrator's key, or the API key; nil for none.
    public init(url: String, key: String?) {
        (self.url, self.key) = (url.hasSuffix("/") ? String(url.dropLast()) : url, key)
    }

    /// A segment of a path that stands for a name.
    public static func segment(_ name: String) -> String {
        name.addingPercentEncoding(withAllowedCharacters: .urlPathAllowed) ?? name
    }

    /// Sends a request, and waits for the answer for as long as loading a model may take.
    ///
    /// - Throws: ``MoruError/Code/serverUnreachable``, or what the server says.
    public func send(_ method: String, _ path: String, _ body: JSON? = nil) async throws -> JSON {
        var request = HTTPClientRequest(url: url + path)
        request.method = .init(rawValue: method)
        if let key { request.headers.add(name: "Authorization", value: "Bearer \(key)") }
        if let body {
            request.headers.add(name: "Content-Type", value: "application/json")
            request.body = .bytes(ByteBuffer(string: body.text()))
        }
        let (status, text) = try await answer(to: request)
        let json = try? JSON.parse(text, source: "the server's answer")
        guard (200..<300).contains(status) else {
            let message = json?["error"]?["message"]?.string ?? "\(method) \(path) was answered with status \(status)"
            let code = json?["error"]?["code"]?.string ?? "status-\(status)"
            throw MoruError(MoruError.Code("server.\(code)", Self.kind(of: status)), message)
        }
        guard let json else {
            throw MoruError(
                .serverUnreachable, "the server at \(url) is not a Moru server",
                remedy: "name another with --server URL"
            )
        }
        return json
    }

    private func answer(to request: HTTPClientRequest) async throws -> (status: Int, text: String) {
        var configuration = HTTPClient.Configuration()
        configuration.timeout.connect = .seconds(5)
        // Where nothing listens, nothing will
        configuration.connectionPool.retryConnectionEstablishment = false
        let client = HTTPClient(configuration: configuration)
        let result: Result<(Int, String), any Error>
        do {
            let response = try await client.execute(request, timeout: .minutes(30))
            let text = String(buffer: try await response.body.collect(upTo: 16 << 20))
            result = .success((Int(response.status.code), text))
        } catch {
            result = .failure(
                MoruError(
                    .serverUnreachable, "no server answers at \(url)",
                    remedy: "start one with: moru serve MODEL; or name another with --server URL", cause: error))
        }
        try await client.shutdown()
        return try result.get()
    }

    private static func kind(of status: Int) -> MoruError.Kind {
        switch status {
        case 404: .notFound
        case 409: .conflict
        case 503, 429: .limit
        case 400..<500: .invalidInput
        default: .io
        }
    }
}
