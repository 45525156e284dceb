import AsyncHTTPClient
import Foundation
import Logging
import MoruBase
import MoruEngine
import MoruModels
import MoruNN
import MoruServer
import MoruTestKit
import NIOCore

/// A server on loopback for the time of a test.
struct TestServer: Sendable {
    let port: Int

    /// Runs a server on a free port, and stops it after the body.
    ///
    /// - Throws: What the server and the body throw.
    static func run<Result: Sendable>(
        _ models: [ServedModel], configuration: ServerConfiguration = ServerConfiguration(), logger: Logger? = nil,
        _ body: (TestServer) async throws -> Result
    ) async throws -> Result {
        try await run(ModelCatalog(loaded: models), configuration: configuration, logger: logger, body)
    }

    /// Runs a server of a catalogue's models on a free port, and stops it after the body.
    ///
    /// - Throws: What the server and the body throw.
    static func run<Result: Sendable>(
        _ catalog: ModelCatalog, configuration: ServerConfiguration = ServerConfiguration(), logger: Logger? = nil,
        _ body: (TestServer) async throws -> Result
    ) async throws -> Result {
        var configuration = configuration
        configuration.port = 0
        var quiet = Logger(label: "test")
        quiet.logLevel = .critical
        let server = MoruServer(configuration: configuration, catalog: catalog, logger: logger ?? quiet)
        let (ports, continuation) = AsyncThrowingStream.makeStream(of: Int.self)
        let running = Task {
            do {
                try await server.run { continuation.yield($0) }
                continuation.finish()
            } catch {
                continuation.finish(throwing: error)
            }
        }
        defer { running.cancel() }
        guard let port = try await ports.first(where: { _ in true }) else {
            throw MoruError(.portInUse, "the test server ended before it listened")
        }
        return try await body(TestServer(port: port))
    }

    /// A tiny model with an adapter, as two served models on one engine.
    ///
    /// - Throws: What building models throws.
    static func tinyModels(contextLength: Int = 256) throws -> [ServedModel] {
        let pretrained = try TestModels.tinyPretrained(contextLength: contextLength)
        let generator = try TextGenerator(pretrained)
        let adapter = randomAdapter(for: pretrained.model)
        return [
            ServedModel(name: "tiny", generator: generator),
            ServedModel(name: "tiny-tuned", generator: generator, adapter: adapter),
        ]
    }

    /// An adapter that changes what the model says; a fresh one would not.
    private static func randomAdapter(for model: any LanguageModel) -> LoRAAdapter {
        var pairs: [String: LoRAPair] = [:]
        for linear in model.linears where linear.path.hasSuffix("q_proj") || linear.path.hasSuffix("v_proj") {
            pairs[linear.path] = LoRAPair(
                a: Parameter("\(linear.path).a", Deterministic.tensor("\(linear.path).a", [4, linear.inputs])),
                b: Parameter("\(linear.path).b", Deterministic.tensor("\(linear.path).b", [linear.outputs, 4])),
                scale: 2)
        }
        return LoRAAdapter(
            configuration: LoRAConfiguration(rank: 4, alpha: 8, targets: ["q_proj", "v_proj"]), pairs: pairs)
    }
}

/// What a server answered.
struct TestResponse: Sendable {
    let status: Int
    let headers: [String: String]
    let body: String

    /// The body as JSON.
    var json: JSON { (try? JSON.parse(body, source: "response")) ?? .null }
    /// The error's code.
    var errorCode: String? { json["error"]?["code"]?.string }
    /// The error's field.
    var errorParam: String? { json["error"]?["param"]?.string }
    /// The values of an event stream's frames, without `[DONE]`.
    var events: [JSON] {
        body.components(separatedBy: "\n\n").filter { $0.hasPrefix("data: {") }.compactMap {
            try? JSON.parse(String($0.dropFirst(6)), source: "event")
        }
    }
}

extension TestServer {
    /// Asks, and waits for the whole answer.
    ///
    /// - Throws: What the client throws.
    func request(
        _ method: String, _ path: String, body: String? = nil, headers: [(String, String)] = []
    ) async throws -> TestResponse {
        try await response(to: prepared(method, path, body: body, headers: headers))
    }

    private func response(to request: HTTPClientRequest) async throws -> TestResponse {
        let response = try await HTTPClient.shared.execute(request, timeout: .seconds(60))
        let text = String(buffer: try await response.body.collect(upTo: 16 << 20))
        let headers = Dictionary(
            response.headers.map { ($0.name.lowercased(), $0.value) }, uniquingKeysWith: { first, _ in first })
        return TestResponse(status: Int(response.status.code), headers: headers, body: text)
    }

    /// Sends bytes without saying what they are, and waits for the whole answer.
    ///
    /// - Throws: What the client throws.
    func request(
        _ method: String, _ path: String, bytes: [UInt8], headers: [(String, String)] = []
    ) async throws -> TestResponse {
        var request = prepared(method, path, body: nil, headers: headers)
        request.body = .bytes(ByteBuffer(bytes: bytes))
        return try await response(to: request)
    }

    /// Posts JSON, and waits for the whole answer.
    ///
    /// - Throws: What the client throws.
    func post(_ path: String, _ json: JSON) async throws -> TestResponse {
        try await request("POST", path, body: json.text())
    }

    /// Posts JSON, reads the answer's first bytes, and hangs up.
    ///
    /// - Parameter whileOpen: Called before it hangs up.
    /// - Throws: What the client throws.
    func postAndHangUp(
        _ path: String, _ json: JSON, whileOpen: () async throws -> Void = {}
    ) async throws -> String {
        let client = HTTPClient()
        let request = prepared("POST", path, body: json.text(), headers: [])
        let first: Result<ByteBuffer?, any Error>
        do {
            let response = try await client.execute(request, timeout: .seconds(60))
            // The client hangs up when nobody reads on
            var reader = response.body.makeAsyncIterator()
            let bytes = try await reader.next()
            try await whileOpen()
            withExtendedLifetime(reader) {}
            first = .success(bytes)
        } catch {
            first = .failure(error)
        }
        // Closes the connection, in the middle of the answer.
        try await client.shutdown()
        return try first.get().map { String(buffer: $0) } ?? ""
    }

    private func prepared(
        _ method: String, _ path: String, body: String?, headers: [(String, String)]
    ) -> HTTPClientRequest {
        var request = HTTPClientRequest(url: "http://127.0.0.1:\(port)\(path)")
        request.method = .init(rawValue: method)
        if let body {
            request.headers.add(name: "Content-Type", value: "application/json")
            request.body = .bytes(ByteBuffer(string: body))
        }
        for (name, value) in headers { request.headers.replaceOrAdd(name: name, value: value) }
        return request
    }
}
