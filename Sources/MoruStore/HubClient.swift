import AsyncHTTPClient
import Foundation
import MoruBase
import NIOCore
import NIOHTTP1

/// Speaks the API of the Hugging Face hub: model information and file downloads.
///
/// The access token goes to the hub's own origin alone: a redirect to another host (where the hub keeps large files)
/// is followed without it.
public final class HubClient: Sendable {
    /// Where the hub is and who asks.
    public let settings: HubSettings
    let patience: HubPatience
    let http: HTTPClient

    /// Makes a client.
    ///
    /// - Throws: ``MoruError/Code/hubUnreachable`` when the proxy's address cannot be read.
    public init(settings: HubSettings, patience: HubPatience = .patient) throws(MoruError) {
        self.settings = settings
        self.patience = patience
        var configuration = HTTPClient.Configuration()
        configuration.redirectConfiguration = .disallow
        configuration.timeout = .init(
            connect: TimeAmount(patience.connectTimeout), read: TimeAmount(patience.idleTimeout))
        configuration.connectionPool.retryConnectionEstablishment = false
        configuration.httpVersion = .http1Only
        if let proxy = settings.proxy {
            guard let url = URL(string: proxy.contains("://") ? proxy : "http://\(proxy)"), let host = url.host else {
                throw MoruError(
                    .hubUnreachable, "the proxy '\(proxy)' is not an address",
                    remedy: "set HTTPS_PROXY to an address such as http://proxy.example.org:3128")
            }
            let login = url.user.map { HTTPClient.Authorization.basic(username: $0, password: url.password ?? "") }
            configuration.proxy = .server(host: host, port: url.port ?? 80, authorization: login)
        }
        http = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
    }

    deinit {
        let http = http
        Task { try? await http.shutdown() }
    }

    /// Asks about a model repository at a branch, tag or commit.
    ///
    /// - Parameter note: Told why the client waits, when it does.
    /// - Throws: ``MoruError/Code/hubNotFound``, ``MoruError/Code/hubAccessDenied``,
    ///   ``MoruError/Code/hubUnreachable``, ``MoruError/Code/hubRateLimited``,
    ///   ``MoruError/Code/hubResponseMalformed`` or ``MoruError/Code/hubFileNameUnsafe``.
    public func modelInfo(
        repository: String, revision: String = "main", note: (String) -> Void = { _ in }
    ) async throws -> HubModelInfo {
        let path =
            "/api/models/\(Self.encode(repository))/revision/\(Self.encode(revision, keepSlash: false))?blobs=true"
        let subject = HubSubject(repository: repository, revision: revision, file: nil)
        var attempts = HubAttempts(patience)
        while true {
            do {
                let response = try await get(path, headers: [], subject: subject)
                guard response.status == 200 else { throw await failure(response, subject: subject) }
                let body = try await collect(response, limit: 32 << 20, subject: subject)
                let json: JSON
                do throws(MoruError) { json = try JSON.parse(body, source: response.url) } catch {
                    throw MoruError(
                        .hubResponseMalformed, "the hub's answer about \(subject) is not valid JSON",
                        remedy: "check HF_ENDPOINT (\(settings.endpoint)) and the proxy", cause: error)
                }
                return try HubModelInfo(json: json, source: response.url)
            } catch let failure as HubFailure {
                try await attempts.pause(after: failure, note: note)
            }
        }
    }

    // MARK: - Requests

    /// Sends a GET to a path of the hub and follows redirects to where the content is.
    ///
    /// - Throws: ``HubFailure``, or ``MoruError``.
    func get(_ path: String, headers: [(String, String)], subject: HubSubject) async throws -> HubResponse {
        var url = settings.endpoint + path
        var linked = HubResponse.Linked()
        for _ in 0..<10 {
            let toHub = Self.origin(of: url) == Self.origin(of: settings.endpoint)
            var request = HTTPClientRequest(url: url)
            request.headers.add(name: "User-Agent", value: "moru")
            request.headers.add(name: "Accept-Encoding", value: "identity")
            for (name, value) in headers { request.headers.add(name: name, value: value) }
            if toHub, let token = settings.token {
                request.headers.add(name: "Authorization", value: "Bearer \(token)")
            }
            let response = try await execute(request, subject: subject)
            if toHub { linked.note(response.headers) }
            let status = Int(response.status.code)
            guard [301, 302, 303, 307, 308].contains(status) else {
                return HubResponse(
                    status: status, url: url, headers: response.headers, linked: linked, body: response.body)
            }
            url = try redirectTarget(from: url, location: response.headers.first(name: "Location"))
        }
        throw MoruError(
            .hubResponseMalformed, "\(subject): more than 10 redirects, the last to \(Self.bare(url))",
            remedy: "check HF_ENDPOINT (\(settings.endpoint)) and the proxy")
    }

    /// Where a redirect leads: any host, but never from https down to http.
    func redirectTarget(from url: String, location: String?) throws(MoruError) -> String {
        func refused(_ what: String) -> MoruError {
            MoruError(
                .hubResponseMalformed, "\(Self.bare(url)) redirects \(what)",
                remedy: "check HF_ENDPOINT (\(settings.endpoint)) and the proxy")
        }
        guard let location, let base = URL(string: url),
            let target = URL(string: location, relativeTo: base)?.absoluteURL,
            let scheme = target.scheme?.lowercased(), ["http", "https"].contains(scheme), target.host?.isEmpty == false
        else { throw refused("to no usable address") }
        if base.scheme?.lowercased() == "https", scheme == "http" {
            throw refused("from https to plain http, which is refused")
        }
        return target.absoluteString
    }

    private func execute(_ request: HTTPClientRequest, subject: HubSubject) async throws -> HTTPClientResponse {
        let limit = patience.connectTimeout + patience.idleTimeout
        do {
            return try await http.execute(request, timeout: TimeAmount(limit))
        } catch {
            throw interrupted(by: error, url: request.url, subject: subject, connected: false)
        }
    }

    /// The error for a connection that could not be made or broke.
    ///
    /// - Parameter connected: Whether the server had begun to answer.
    func interrupted(by error: any Error, url: String, subject: HubSubject, connected: Bool) -> any Error {
        if Task.isCancelled || error is CancellationError {
            return MoruError(.cancelled, "stopped while fetching \(subject)")
        }
        if error is MoruError || error is HubFailure { return error }
        let known = error as? HTTPClientError
        let dropped =
            connected || error is HTTPParserError || known == .remoteConnectionClosed || known == .readTimeout
            || known == .uncleanShutdown
        let host = URL(string: url)?.host ?? url
        return HubFailure(
            error: MoruError(
                .hubUnreachable,
                dropped
                    ? "the connection to \(host) broke while fetching \(subject)"
                    : "cannot reach \(host) for \(subject)",
                remedy:
                    "check the network and HTTPS_PROXY, or name a mirror in HF_ENDPOINT; the next pull resumes where this one stopped",
                cause: error),
            retry: dropped ? .dropped : .unreachable)
    }

    /// The whole body of a small answer.
    func collect(_ response: HubResponse, limit: Int, subject: HubSubject) async throws -> [UInt8] {
        var body: [UInt8] = []
        do {
            for try await chunk in response.body {
                guard body.count + chunk.readableBytes <= limit else {
                    throw MoruError(
                        .hubResponseMalformed, "the hub's answer about \(subject) is larger than \(limit) bytes",
                        remedy: "check HF_ENDPOINT (\(settings.endpoint))")
                }
                body.append(contentsOf: chunk.readableBytesView)
            }
        } catch {
            throw interrupted(by: error, url: response.url, subject: subject, connected: true)
        }
        return body
    }

    // MARK: - Addresses

    /// Percent-encodes a path.
    static func encode(_ text: String, keepSlash: Bool = true) -> String {
        var result = ""
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "."),
                UInt8(ascii: "~"):
                result.unicodeScalars.append(Unicode.Scalar(byte))
            case UInt8(ascii: "/") where keepSlash: result += "/"
            default: result += "%" + (byte < 16 ? "0" : "") + String(byte, radix: 16, uppercase: true)
            }
        }
        return result
    }

    /// Scheme, host and port: what a token is meant for.
    static func origin(of url: String) -> String? {
        guard let url = URL(string: url), let scheme = url.scheme?.lowercased(), let host = url.host?.lowercased()
        else { return nil }
        return "\(scheme)://\(host):\(url.port ?? (scheme == "https" ? 443 : 80))"
    }

    /// An address without its query, which may hold a signature.
    static func bare(_ url: String) -> String { String(url.prefix { $0 != "?" }) }
}

/// What a request is about, for messages.
struct HubSubject: CustomStringConvertible {
    let repository: String
    let revision: String
    let file: String?

    var description: String {
        let place =
            revision == "main"
            ? repository : "\(repository)@\(revision.count == 40 ? String(revision.prefix(12)) : revision)"
        return file.map { "\($0) of \(place)" } ?? place
    }
}

/// An answer of the hub or of the host it redirected to; the body is still to be read.
struct HubResponse {
    /// What the hub says about a file before it redirects elsewhere.
    struct Linked {
        /// `X-Linked-Etag` or the hub's own `ETag`, without quotes: the content's identity.
        var identity: String?
        /// `X-Linked-Size`.
        var size: Int?
        /// `X-Repo-Commit`.
        var commit: String?

        mutating func note(_ headers: HTTPHeaders) {
            identity = HubResponse.tag(headers.first(name: "X-Linked-Etag") ?? headers.first(name: "ETag")) ?? identity
            size = headers.first(name: "X-Linked-Size").flatMap { Int($0) } ?? size
            commit = headers.first(name: "X-Repo-Commit") ?? commit
        }
    }

    let status: Int
    let url: String
    let headers: HTTPHeaders
    let linked: Linked
    let body: HTTPClientResponse.Body

    /// An entity tag without its weak mark and quotes.
    static func tag(_ header: String?) -> String? {
        guard var text = header?.trimmingCharacters(in: .whitespaces), !text.isEmpty else { return nil }
        if text.hasPrefix("W/") { text.removeFirst(2) }
        return text.trimmingCharacters(in: CharacterSet(charactersIn: "\""))
    }
}

extension TimeAmount {
    init(_ duration: Duration) {
        let (seconds, attoseconds) = duration.components
        self = .nanoseconds(seconds * 1_000_000_000 + attoseconds / 1_000_000_000)
    }
}
