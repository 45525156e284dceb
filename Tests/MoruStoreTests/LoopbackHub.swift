import Crypto
import Foundation
import MoruBase
import NIOCore
import NIOHTTP1
import NIOPosix
import Synchronization

@testable import MoruStore

/// A small Hugging Face hub on loopback: model information, downloads with ranges, and a second port that plays the
/// host to which the hub redirects for large files.
final class LoopbackHub: Sendable {
    struct File: Sendable {
        var content: [UInt8]
        var large = false
    }

    struct Repository: Sendable {
        var commit = String(repeating: "a", count: 40)
        var files: [String: File] = [:]
        var license = "apache-2.0"
        var gated = false
    }

    /// What goes wrong, and for whom.
    struct Mischief: Sendable {
        /// Only this token may see anything.
        var token: String?
        /// Successive content requests for a file are cut after so many bytes of body.
        var cuts: [String: [Int]] = [:]
        /// Where the client keeps its files: a cut waits until the bytes before it have arrived there, so that its
        /// place is certain.
        var partials: String?
        /// Successive requests get these answers instead: status and `Retry-After`.
        var refusals: [(status: Int, retryAfter: String?)] = []
        /// The content differs from what the listing says.
        var corrupt: Set<String> = []
        /// `Range` is ignored.
        var ignoresRanges = false
        /// No entity tags are sent.
        var hidesTags = false
        /// The text sent for model information instead of the true one.
        var information: String?
        /// `X-Linked-Size` is off by one.
        var liesAboutSize = false
        /// Every resolve is redirected to itself.
        var loops = false
        /// Content is sent after this delay.
        var delay: TimeAmount = .zero
        /// Content from the middle of a file is sent after this delay.
        var delayOfRanges: TimeAmount = .zero
    }

    struct Request: Sendable {
        var port: Int
        var uri: String
        var headers: HTTPHeaders
    }

    private struct State: Sendable {
        var repositories: [String: Repository] = [:]
        var mischief = Mischief()
        var requests: [Request] = []
    }

    private let state = Mutex(State())
    private let hub: any Channel
    private let store: any Channel
    private let ports = Mutex((hub: 0, store: 0))

    static func start() async throws -> LoopbackHub {
        let slot = Slot()
        let respond: @Sendable (Request) -> Answer = { request in
            slot.hub.withLock { $0 }?.answer(request) ?? Answer(status: 503)
        }
        let hub = try await listen(respond)
        let store = try await listen(respond)
        let server = LoopbackHub(hub: hub, store: store)
        slot.hub.withLock { $0 = server }
        return server
    }

    /// Where the sockets find the hub, which is made after them.
    private final class Slot: Sendable {
        let hub = Mutex<LoopbackHub?>(nil)
    }

    private init(hub: any Channel, store: any Channel) {
        self.hub = hub
        self.store = store
        ports.withLock { $0 = (hub.localAddress?.port ?? 0, store.localAddress?.port ?? 0) }
    }

    func stop() async {
        try? await hub.close()
        try? await store.close()
    }

    var endpoint: String { "http://127.0.0.1:\(hubPort)" }
    var hubPort: Int { ports.withLock { $0.hub } }
    var storePort: Int { ports.withLock { $0.store } }

    var requests: [Request] { state.withLock { $0.requests } }
    func requests(containing text: String, port: Int? = nil) -> [Request] {
        requests.filter { $0.uri.contains(text) && (port == nil || $0.port == port) }
    }
    func forgetRequests() { state.withLock { $0.requests = [] } }

    subscript(repository: String) -> Repository {
        get { state.withLock { $0.repositories[repository] ?? Repository() } }
        set { state.withLock { $0.repositories[repository] = newValue } }
    }
    var mischief: Mischief {
        get { state.withLock { $0.mischief } }
        set { state.withLock { $0.mischief = newValue } }
    }

    // MARK: - Answers

    struct Answer: Sendable {
        var status: Int
        var headers: [(String, String)] = []
        var body: [UInt8] = []
        /// Close the connection after so many bytes of the body.
        var cut: Int?
        /// Whether the client has what was sent before the cut.
        var hasArrived: @Sendable () -> Bool = { true }
        var delay: TimeAmount = .zero
    }

    private func answer(_ request: Request) -> Answer {
        let refusal = state.withLock { state -> (status: Int, retryAfter: String?)? in
            state.requests.append(request)
            return state.mischief.refusals.isEmpty ? nil : state.mischief.refusals.removeFirst()
        }
        if let refusal {
            return Answer(
                status: refusal.status, headers: refusal.retryAfter.map { [("Retry-After", $0)] } ?? [],
                body: Array(#"{"error":"not now"}"#.utf8))
        }
        let path = String(request.uri.prefix { $0 != "?" })
        if request.port == storePort { return content(of: path.removingPercentEncoding ?? path, request) }
        let bearer = request.headers.first(name: "Authorization")
        if let token = mischief.token, bearer != "Bearer \(token)" {
            return error(
                401, nil, bearer == nil ? "Repository not found" : "Invalid credentials in Authorization header")
        }
        if path.hasPrefix("/api/models/") { return information(path) }
        return resolve(path, request)
    }

    private func information(_ path: String) -> Answer {
        let parts = path.dropFirst("/api/models/".count).components(separatedBy: "/revision/")
        let name = parts[0]
        guard let repository = state.withLock({ $0.repositories[name] }) else {
            return error(404, "RepoNotFound", "Repository not found")
        }
        let revision = parts.last?.removingPercentEncoding ?? ""
        guard ["main", "refs/pr/1", repository.commit].contains(revision) else {
            return error(404, "RevisionNotFound", "Invalid rev id: \(revision)")
        }
        if let text = mischief.information { return Answer(status: 200, body: Array(text.utf8)) }
        let siblings = repository.files.sorted { $0.key < $1.key }.map { name, file -> JSON in
            var entry = JSONObject([("rfilename", .string(name)), ("size", .int(file.content.count))])
            entry["blobId"] = .string(Self.gitBlob(file.content))
            if file.large {
                entry["lfs"] = [
                    "sha256": .string(Self.sha256(file.content)), "size": .int(file.content.count), "pointerSize": 134,
                ]
            }
            return .object(entry)
        }
        let info: JSON = [
            "id": .string(name), "sha": .string(repository.commit), "gated": repository.gated ? "manual" : false,
            "cardData": ["license": .string(repository.license)], "config": ["model_type": "llama"],
            "siblings": .array(siblings),
        ]
        return Answer(status: 200, headers: [("Content-Type", "application/json")], body: Array(info.text().utf8))
    }

    private func resolve(_ path: String, _ request: Request) -> Answer {
        let parts = path.dropFirst().components(separatedBy: "/resolve/")
        guard parts.count == 2, let repository = state.withLock({ $0.repositories[parts[0]] }) else {
            return error(404, "RepoNotFound", "Repository not found")
        }
        if mischief.loops { return Answer(status: 307, headers: [("Location", path)]) }
        if repository.gated { return error(403, "GatedRepo", "Access to this model is restricted") }
        let rest = parts[1].split(separator: "/", maxSplits: 1).map { String($0).removingPercentEncoding ?? "" }
        guard rest.count == 2, let file = repository.files[rest[1]] else {
            return error(404, "EntryNotFound", "Entry not found")
        }
        guard file.large else { return content(of: "/\(parts[0])/\(rest[1])", request) }
        let size = file.content.count + (mischief.liesAboutSize ? 1 : 0)
        var headers = [
            ("X-Repo-Commit", repository.commit), ("X-Linked-Size", String(size)),
            ("Location", "http://localhost:\(storePort)/\(parts[0])/\(HubPath.encode(rest[1]))?Signature=s%2Fx"),
        ]
        if !mischief.hidesTags { headers.append(("X-Linked-Etag", "\"\(Self.sha256(file.content))\"")) }
        return Answer(status: 302, headers: headers)
    }

    /// The bytes of `/ORG/REPO/FILE`.
    private func content(of path: String, _ request: Request) -> Answer {
        let parts = path.split(separator: "/", maxSplits: 2).map(String.init)
        guard parts.count == 3, var file = self["\(parts[0])/\(parts[1])"].files[parts[2]] else {
            return error(404, "EntryNotFound", "Entry not found")
        }
        let tag = "\"\(Self.gitBlob(file.content))\""
        let mischief = self.mischief
        if mischief.corrupt.contains(parts[2]) { file.content[file.content.count / 2] ^= 1 }
        var headers = [("Accept-Ranges", "bytes")]
        if !mischief.hidesTags { headers.append(("ETag", tag)) }
        var answer = Answer(status: 200, headers: headers, body: file.content, delay: mischief.delay)
        let condition = request.headers.first(name: "If-Range")
        if let range = request.headers.first(name: "Range"), !mischief.ignoresRanges,
            condition == nil || condition == tag
        {
            let start = Int(range.dropFirst("bytes=".count).dropLast()) ?? -1
            guard file.content.indices.contains(start) else {
                return Answer(status: 416, headers: [("Content-Range", "bytes */\(file.content.count)")])
            }
            answer.status = 206
            answer.delay = mischief.delay + mischief.delayOfRanges
            answer.headers.append(
                ("Content-Range", "bytes \(start)-\(file.content.count - 1)/\(file.content.count)"))
            answer.body = Array(file.content[start...])
        }
        let sent = file.content.count - answer.body.count
        answer.cut = state.withLock { state -> Int? in
            guard let cuts = state.mischief.cuts[parts[2]], !cuts.isEmpty else { return nil }
            state.mischief.cuts[parts[2]] = Array(cuts.dropFirst())
            return cuts[0]
        }
        if let cut = answer.cut, cut > 0, let folder = mischief.partials {
            answer.hasArrived = { (FileSize.of("\(folder)/\(parts[2])") ?? 0) >= sent + cut }
        }
        return answer
    }

    private func error(_ status: Int, _ code: String?, _ message: String) -> Answer {
        var headers = [("X-Error-Message", message), ("Content-Type", "application/json")]
        if let code { headers.append(("X-Error-Code", code)) }
        return Answer(
            status: status, headers: headers,
            body: Array(JSON.object(JSONObject([("error", .string(message))])).text().utf8))
    }

    // MARK: - Hashes

    static func sha256(_ bytes: [UInt8]) -> String {
        SHA256.hash(data: bytes).map { String(format: "%02x", $0) }.joined()
    }

    static func gitBlob(_ bytes: [UInt8]) -> String {
        Insecure.SHA1.hash(data: Array("blob \(bytes.count)\0".utf8) + bytes).map { String(format: "%02x", $0) }
            .joined()
    }

    // MARK: - Sockets

    private static func listen(_ respond: @escaping @Sendable (Request) -> Answer) async throws -> any Channel {
        try await ServerBootstrap(group: .singletonMultiThreadedEventLoopGroup)
            .serverChannelOption(.backlog, value: 64)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.configureHTTPServerPipeline()
                    try channel.pipeline.syncOperations.addHandler(Handler(respond))
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
    }

    private final class Handler: ChannelInboundHandler {
        typealias InboundIn = HTTPServerRequestPart
        typealias OutboundOut = HTTPServerResponsePart

        private let respond: @Sendable (Request) -> Answer
        private var head: HTTPRequestHead?

        init(_ respond: @escaping @Sendable (Request) -> Answer) { self.respond = respond }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            switch unwrapInboundIn(data) {
            case .head(let head): self.head = head
            case .body: break
            case .end:
                guard let head else { return }
                let port = context.channel.localAddress?.port ?? 0
                let answer = respond(Request(port: port, uri: head.uri, headers: head.headers))
                let loopContext = NIOLoopBound(context, eventLoop: context.eventLoop)
                let loopSelf = NIOLoopBound(self, eventLoop: context.eventLoop)
                context.eventLoop.scheduleTask(in: answer.delay) {
                    loopSelf.value.send(answer, context: loopContext.value)
                }
            }
        }

        private func send(_ answer: Answer, context: ChannelHandlerContext) {
            var headers = HTTPHeaders(answer.headers)
            headers.add(name: "Content-Length", value: String(answer.body.count))
            let head = HTTPResponseHead(
                version: .http1_1, status: HTTPResponseStatus(statusCode: answer.status), headers: headers)
            context.write(wrapOutboundOut(.head(head)), promise: nil)
            let body = answer.cut.map { Array(answer.body.prefix($0)) } ?? answer.body
            context.write(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(bytes: body)))), promise: nil)
            guard answer.cut != nil else {
                context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
                return
            }
            context.flush()
            cut(NIOLoopBound(context, eventLoop: context.eventLoop), when: answer.hasArrived, patience: 1000)
        }

        private func cut(
            _ context: NIOLoopBound<ChannelHandlerContext>, when hasArrived: @escaping @Sendable () -> Bool,
            patience: Int
        ) {
            guard !hasArrived(), patience > 0 else { return context.value.close(promise: nil) }
            let loopSelf = NIOLoopBound(self, eventLoop: context.value.eventLoop)
            context.value.eventLoop.scheduleTask(in: .milliseconds(10)) {
                loopSelf.value.cut(context, when: hasArrived, patience: patience - 1)
            }
        }
    }
}

/// Percent-encoding for the paths that the test hub hands out.
enum HubPath {
    static func encode(_ text: String) -> String {
        text.addingPercentEncoding(withAllowedCharacters: .urlPathAllowed) ?? text
    }
}
