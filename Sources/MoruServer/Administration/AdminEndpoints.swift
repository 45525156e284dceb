import Hummingbird
import MoruBase

/// The endpoints that change what is served: `/admin/models`, `/admin/routes`, and vLLM's for adapters.
struct AdminEndpoints: Sendable {
    let list: ModelCatalog
    let configuration: ServerConfiguration

    /// All models with what is known of each, the routes, and the memory.
    func models(_ request: Request, _ context: ServerContext) -> Response { Response(list.administrationJSON) }

    /// Loads a model of the catalogue, or with `source` a further one; with `base` it is an adapter.
    func load(_ request: Request, _ context: ServerContext) async throws -> Response {
        var fields = try await fields(of: request)
        let name = try name(&fields)
        let base = try fields.string("base")
        var specification = ModelSpecification(name: name, source: "", base: base, engine: list.engineDefaults)
        try SpecificationFields.read(&fields, into: &specification)
        try fields.finish()
        if specification == ModelSpecification(name: name, source: "", engine: list.engineDefaults) {
            try await answering { () async throws(MoruError) in try await list.load(name) }
        } else {
            guard !specification.source.isEmpty else { throw APIError.missing("source") }
            try await answering { () async throws(MoruError) in try await list.add(specification) }
        }
        return Response(list.administrationJSON(of: name))
    }

    /// Unloads a model: `model`, and `remove` to forget its name as well.
    func unload(_ request: Request, _ context: ServerContext) async throws -> Response {
        var fields = try await fields(of: request)
        let name = try name(&fields)
        let removes = try fields.bool("remove") ?? false
        try fields.finish()
        let working = try await answering { () throws(MoruError) in try list.unload(name, removes: removes) }
        return Response(["name": .string(name), "removed": .bool(removes), "requests_at_work": .int(working)])
    }

    /// Puts another model in place of one: `model` and `source`; what is not said stays as it was.
    func swap(_ request: Request, _ context: ServerContext) async throws -> Response {
        var fields = try await fields(of: request)
        let name = try name(&fields)
        guard var specification = list.read({ $0.entries[name]?.specification }) else {
            throw APIError(list.read { $0.unknown(name) }, param: "model")
        }
        let source = specification.source
        specification.source = ""
        try SpecificationFields.read(&fields, into: &specification)
        if specification.source.isEmpty {
            // The same files may have changed
            guard !source.isEmpty else { throw APIError.missing("source") }
            specification.source = source
        }
        try fields.finish()
        let successor = specification
        try await answering { () async throws(MoruError) in try await list.swap(successor) }
        return Response(list.administrationJSON(of: name))
    }

    /// All routes.
    func routes(_ request: Request, _ context: ServerContext) -> Response {
        Response(["routes": list.administrationJSON["routes"] ?? [:]])
    }

    /// Sets a route: `models` with the weight of each, or `model` for an alias, and `sticky`.
    func setRoute(_ request: Request, _ context: ServerContext) async throws -> Response {
        let name = try routeName(request)
        var fields = try await fields(of: request)
        let route: ModelRoute
        if let model = try fields.string("model") {
            try fields.refuse("models", "'model' makes an alias; send one of the two")
            route = ModelRoute(alias: model)
        } else {
            route = try SpecificationFields.route(&fields)
        }
        try fields.finish()
        try await answering { () throws(MoruError) in try list.set(route, as: name) }
        return Response(["name": .string(name), "route": route.json])
    }

    /// Takes a route out.
    func removeRoute(_ request: Request, _ context: ServerContext) async throws -> Response {
        let name = try routeName(request)
        try await answering { () throws(MoruError) in try list.removeRoute(name) }
        return Response(["name": .string(name), "removed": true])
    }

    /// Writes the routes into the configuration file that the server was started with.
    func save(_ request: Request, _ context: ServerContext) async throws -> Response {
        let fields = try await fields(of: request)
        try fields.finish()
        guard let path = configuration.configurationFile else {
            throw APIError.invalid(
                "no_configuration_file", "The server was started without a configuration file (--config).",
                status: .conflict)
        }
        let routes = list.read { state in state.routeNames.compactMap { name in state.routes[name].map { (name, $0) } }
        }
        try await answering { () throws(MoruError) in try ServeFile.save(routes, to: path) }
        return Response(["saved": .string(path)])
    }

    // MARK: - As vLLM has it

    /// Adds an adapter: `lora_name`, `lora_path`, and `base_model` where several models could have it.
    func loadAdapter(_ request: Request, _ context: ServerContext) async throws -> Response {
        var fields = try await fields(of: request)
        guard let name = try fields.string("lora_name") else { throw APIError.missing("lora_name") }
        guard let source = try fields.string("lora_path") else { throw APIError.missing("lora_path") }
        let base = try fields.string("base_model")
        let replaces = try fields.bool("load_inplace") ?? false
        try fields.finish()
        let bases = list.read { state in state.names.filter { state.entries[$0]?.specification.base == nil } }
        guard let base = base ?? (bases.count == 1 ? bases[0] : nil) else {
            throw APIError.wrongValue(
                "base_model", "must say which of \(ModelCatalog.list(bases)) the adapter acts on")
        }
        let specification = ModelSpecification(name: name, source: source, base: base)
        let isThere = list.names.contains(name)
        try await answering { () async throws(MoruError) in
            if replaces, isThere {
                try await list.swap(specification)
            } else {
                try await list.add(specification)
            }
        }
        return Self.success("LoRA adapter '\(name)' added successfully.")
    }

    /// Removes an adapter: `lora_name`.
    func unloadAdapter(_ request: Request, _ context: ServerContext) async throws -> Response {
        var fields = try await fields(of: request)
        guard let name = try fields.string("lora_name") else { throw APIError.missing("lora_name") }
        fields.accept("lora_int_id")
        try fields.finish()
        guard list.read({ $0.entries[name].map { $0.specification.base != nil } }) != false else {
            throw APIError.wrongValue("lora_name", "is '\(name)', a model of its own; use /admin/models/unload")
        }
        _ = try await answering { () throws(MoruError) in try list.unload(name, removes: true) }
        return Self.success("LoRA adapter '\(name)' removed successfully.")
    }

    private static func success(_ text: String) -> Response {
        Response(
            status: .ok, headers: [.contentType: "text/plain; charset=utf-8"],
            body: ResponseBody(byteBuffer: ByteBuffer(string: "Success: \(text)")))
    }

    // MARK: - Requests

    private func fields(of request: Request) async throws -> RequestObject {
        try RequestObject(try await request.json(upTo: configuration.maximumBodyBytes))
    }

    private func name(_ fields: inout RequestObject) throws(APIError) -> String {
        guard let name = try fields.string("model") else { throw .missing("model") }
        return name
    }

    private func routeName(_ request: Request) throws(APIError) -> String {
        let name = request.uri.path.dropFirst("/admin/routes/".count)
        return name.removingPercentEncoding ?? String(name)
    }

    /// Does something, and says to the administrator what the fault was, rather than that the model is unavailable.
    private func answering<Value>(
        _ body: () async throws(MoruError) -> Value
    ) async throws(APIError) -> Value {
        do {
            return try await body()
        } catch {
            throw APIError.administration(error)
        }
    }
}
