import Hummingbird
import MoruBase

/// The model repository extension of the Open Inference Protocol, as Triton has it: which models there are, and loading
/// and unloading them.
///
/// | endpoint | |
/// |---|---|
/// | `POST /v2/repository/index` | the models, and what became of each |
/// | `POST /v2/repository/models/{name}/load`, `.../unload` | loads and unloads one |
struct RepositoryEndpoints: Sendable {
    let catalog: ModelCatalog
    let configuration: ServerConfiguration

    /// Where loading and unloading are.
    static let models = "/v2/repository/models/"

    /// All models in their order; with `ready`, those that are loaded.
    func index(_ request: Request, _ context: ServerContext) async throws -> Response {
        var fields = try await fields(of: request)
        let readyOnly = try fields.bool("ready") ?? false
        try fields.finish()
        let entries = catalog.read { state in state.names.compactMap { state.entries[$0] } }
        return Response(.array(entries.filter { !readyOnly || $0.status.repositoryState == "READY" }.map(Self.line)))
    }

    private static func line(_ entry: CatalogState.Entry) -> JSON {
        [
            "name": .string(entry.specification.name), "version": .string(entry.version),
            "state": .string(entry.status.repositoryState), "reason": .string(entry.status.reason),
        ]
    }

    /// Loads or unloads a model of the catalogue. The adapters on a model leave with it.
    func model(_ request: Request, _ context: ServerContext) async throws -> Response {
        let path = request.uri.path.dropFirst(Self.models.count)
        guard let slash = path.lastIndex(of: "/"), let action = Action(rawValue: String(path[slash...].dropFirst()))
        else { throw HTTPError(.notFound) }
        let name = path[..<slash].removingPercentEncoding ?? String(path[..<slash])
        try Self.check(try await fields(of: request), for: action)
        try await AdminEndpoints.answering {
            switch action {
            case .load: try await catalog.load(name)
            case .unload: _ = try catalog.unload(name, removes: false)
            }
        }
        return Response([:])
    }

    private enum Action: String {
        case load
        case unload
    }

    private static func check(_ fields: RequestObject, for action: Action) throws(APIError) {
        var fields = fields
        var parameters = try RequestObject(fields.value("parameters") ?? [:], path: "parameters")
        switch action {
        case .load: try parameters.refuse("config", "a model is served as its files and the server's settings say")
        case .unload: parameters.accept("unload_dependents")
        }
        try parameters.finish()
        try fields.finish()
    }

    /// The body, which may be left out, of a client that need not say that it is JSON.
    private func fields(of request: Request) async throws -> RequestObject {
        let bytes = try await request.bytes(upTo: configuration.maximumBodyBytes)
        return try RequestObject(bytes.isEmpty ? [:] : try JSON.parse(bytes, source: "request body"))
    }
}

extension CatalogState.Status {
    /// The name that the extension has for it.
    fileprivate var repositoryState: String {
        switch self {
        case .unloaded, .failed: "UNAVAILABLE"
        case .loading: "LOADING"
        case .ready: "READY"
        }
    }

    /// Why it is so, where there is more to say.
    fileprivate var reason: String {
        switch self {
        case .unloaded: "unloaded"
        case .failed(let error, _): error.message
        case .loading, .ready: ""
        }
    }
}
