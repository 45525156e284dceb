import Hummingbird
import MoruBase

/// The endpoints that change what is served: `/admin/models`, `/admin/routes`, and vLLM's for adapters.
struct AdminEndpoints: Sendable {
    let catalog: ModelCatalog
    let configuration: ServerConfiguration

    /// All models with what is known of each, the routes, and the memory.
    func models(_ request: Request, _ context: ServerContext) -> Response { Response(catalog.administrationJSON) }

    /// Loads a model of the catalogue, or with `source` a further one; with `base` it is an adapter.
    func load(_ request: Request, _ context: ServerContext) async throws -> Response {
        let specification = try await read(request) { fields in
            var result = ModelSpecification(
                name: try Self.name(&fields), source: "", base: try fields.string("base"),
                engine: catalog.engineDefaults)
            try SpecificationFields.read(&fields, into: &result)
            return result
        }
        let name = specification.name
        let isKnown = specification == ModelSpecification(name: name, source: "", engine: catalog.engineDefaults)
        guard isKnown || !specification.source.isEmpty else { throw APIError.missing("source") }
        try await Self.answering {
            if isKnown { try await catalog.load(name) } else { try await catalog.add(specification) }
        }
        return Response(catalog.administrationJSON(of: name))
    }

    /// Unloads a model: `model`, and `remove` to forget its name as well.
    func unload(_ request: Request, _ context: ServerContext) async throws -> Response {
        let (name, removes) = try await read(request) { (try Self.name(&$0), try $0.bool("remove") ?? false) }
        let working = try await Self.answering { try catalog.unload(name, removes: removes) }
        return Response(["name": .string(name), "removed": .bool(removes), "requests_at_work": .int(working)])
    }

    /// Puts another model in place of one: `model` and `source`; what is not said stays as it was.
    func swap(_ request: Request, _ context: ServerContext) async throws -> Response {
        let successor = try await read(request) { fields in
            let name = try Self.name(&fields)
            guard var specification = catalog.read({ $0.entries[name]?.specification }) else {
                throw APIError(catalog.read { $0.unknown(name) }, param: "model")
            }
            let source = specification.source
            specification.source = ""
            try SpecificationFields.read(&fields, into: &specification)
            if specification.source.isEmpty {
                // The same files may have changed
                guard !source.isEmpty else { throw APIError.missing("source") }
                specification.source = source
            }
            return specification
        }
        try await Self.answering { try await catalog.swap(successor) }
        return Response(catalog.administrationJSON(of: successor.name))
    }

    /// All routes.
    func routes(_ request: Request, _ context: ServerContext) -> Response {
        Response(["routes": catalog.administrationJSON["routes"] ?? [:]])
    }

    /// Sets a route: `models` with the weight of each, or `model` for an alias, and `sticky`.
    func setRoute(_ request: Request, _ context: ServerContext) async throws -> Response {
        let name = routeName(request)
        let route = try await read(request) { fields in
            guard let model = try fields.string("model") else { return try SpecificationFields.route(&fields) }
            try fields.refuse("models", "'model' makes an alias; send one of the two")
            return ModelRoute(alias: model)
        }
        try await Self.answering { try catalog.set(route, as: name) }
        return Response(["name": .string(name), "route": route.json])
    }

    /// Takes a route out.
    func removeRoute(_ request: Request, _ context: ServerContext) async throws -> Response {
        let name = routeName(request)
        try await Self.answering { try catalog.removeRoute(name) }
        return Response(["name": .string(name), "removed": true])
    }

    /// Writes the routes into the configuration file that the server was started with.
    func save(_ request: Request, _ context: ServerContext) async throws -> Response {
        try await read(request) { _ in }
        guard let path = configuration.configurationFile else {
            throw APIError.invalid(
                "no_configuration_file", "The server was started without a configuration file (--config).",
                status: .conflict)
        }
        let routes = catalog.read { state in
            state.routeNames.compactMap { name in state.routes[name].map { (name, $0) } }
        }
        try await Self.answering {
            try ServeFile.save(routes, to: path, besides: configuration.modelsBesidesFile)
        }
        return Response(["saved": .string(path)])
    }

    // MARK: - As vLLM has it

    /// Adds an adapter: `lora_name`, `lora_path`, and `base_model` where several models could have it.
    func loadAdapter(_ request: Request, _ context: ServerContext) async throws -> Response {
        let (specification, replaces) = try await read(request) { fields in
            guard let name = try fields.string("lora_name") else { throw APIError.missing("lora_name") }
            guard let source = try fields.string("lora_path") else { throw APIError.missing("lora_path") }
            let base = try fields.string("base_model")
            let replaces = try fields.bool("load_inplace") ?? false
            let bases = catalog.read { state in state.names.filter { state.entries[$0]?.specification.base == nil } }
            guard let base = base ?? (bases.count == 1 ? bases[0] : nil) else {
                throw APIError.wrongValue(
                    "base_model", "must say which of \(bases.quoted) the adapter acts on")
            }
            return (ModelSpecification(name: name, source: source, base: base), replaces)
        }
        let isThere = catalog.names.contains(specification.name)
        try await Self.answering {
            if replaces, isThere {
                try await catalog.swap(specification)
            } else {
                try await catalog.add(specification)
            }
        }
        return Self.success("LoRA adapter '\(specification.name)' added successfully.")
    }

    /// Removes an adapter: `lora_name`.
    func unloadAdapter(_ request: Request, _ context: ServerContext) async throws -> Response {
        let name = try await read(request) { fields in
            fields.accept("lora_int_id")
            guard let name = try fields.string("lora_name") else { throw APIError.missing("lora_name") }
            return name
        }
        guard catalog.read({ $0.entries[name].map { $0.specification.base != nil } }) != false else {
            throw APIError.wrongValue(
                "lora_name", "is '\(name)', which is a model and not an adapter; use /admin/models/unload")
        }
        _ = try await Self.answering { try catalog.unload(name, removes: true) }
        return Self.success("LoRA adapter '\(name)' removed successfully.")
    }

    private static func success(_ text: String) -> Response {
        Response(
            status: .ok, headers: [.contentType: "text/plain; charset=utf-8"],
            body: ResponseBody(byteBuffer: ByteBuffer(string: "Success: \(text)")))
    }

    // MARK: - Requests

    /// What a body says; fields that are not read are refused. Neither this nor ``answering(_:)`` is inlined: the release
    /// compiler of Swift 6.3 fails on an asynchronous function with the typed errors of both in it.
    @inline(never)
    private func read<Value>(
        _ request: Request, _ body: (inout RequestObject) throws -> Value
    ) async throws -> Value {
        var fields = try RequestObject(try await request.json(upTo: configuration.maximumBodyBytes))
        let value = try body(&fields)
        try fields.finish()
        return value
    }

    private static func name(_ fields: inout RequestObject) throws -> String {
        guard let name = try fields.string("model") else { throw APIError.missing("model") }
        return name
    }

    private func routeName(_ request: Request) -> String {
        let name = request.uri.path.dropFirst("/admin/routes/".count)
        return name.removingPercentEncoding ?? String(name)
    }

    /// Does something, and says to the administrator what the fault was, rather than that the model is unavailable.
    @inline(never)
    static func answering<Value>(_ body: () async throws -> Value) async throws -> Value {
        do {
            return try await body()
        } catch let error as MoruError {
            throw APIError.administration(error)
        }
    }
}
