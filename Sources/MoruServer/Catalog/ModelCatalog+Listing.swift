import MoruBase
import MoruEngine

extension ModelCatalog {
    /// The names of all models, in the order in which they were added.
    public var names: [String] { read(\.names) }

    /// The model of requests that name none: the first. Empty where there is none.
    var defaultName: String { names.first ?? "" }

    /// The models that are loaded, in their order. Whoever uses one for longer than a look takes a lease.
    var loadedModels: [ServedModel] { read { state in state.names.compactMap { state.resident(of: $0)?.model } } }

    /// The engine of each loaded model that generates, under the model's name; adapters are on their base's.
    var engines: [(model: String, engine: Engine)] {
        loadedModels.compactMap { model in
            guard case .generator(let generator, adapter: nil) = model.function else { return nil }
            return (model.name, generator.engine)
        }
    }

    /// The body of `GET /v1/models`: the models, then the routes.
    var json: JSON {
        read { state in
            ["object": "list", "data": .array((state.names + state.routeNames).map { Self.json(of: $0, in: state) })]
        }
    }

    /// The body of `GET /v1/models/{id}`.
    ///
    /// - Throws: ``APIError`` when there is no such model.
    func json(of name: String) throws(APIError) -> JSON {
        try read { state -> Result<JSON, APIError> in
            guard state.entries[name] != nil || state.routes[name] != nil else {
                return .failure(APIError(state.unknown(name), param: "model"))
            }
            return .success(Self.json(of: name, in: state))
        }.get()
    }

    /// A model as OpenAI's API has it. `root`, `parent` and `max_model_len` are vLLM's extensions: what an adapter is an
    /// adapter of, and the context length, which is known of a loaded model; `state`, `version` and a route's `route`
    /// are Moru's.
    private static func json(of name: String, in state: CatalogState) -> JSON {
        if let route = state.routes[name] { return json(of: route, name, in: state) }
        let (entry, model) = (state.entries[name], state.resident(of: name)?.model)
        let base = entry?.specification.base
        return [
            "id": .string(name), "object": "model", "created": .int(model?.created ?? entry?.added ?? 0),
            "owned_by": "moru", "root": .string(base ?? name), "parent": base.map { .string($0) } ?? .null,
            "max_model_len": model.map { .int($0.contextLength) } ?? .null,
            "state": .string(entry?.status.name ?? ""), "version": .string(entry?.version ?? ""),
        ]
    }

    private static func json(of route: ModelRoute, _ name: String, in state: CatalogState) -> JSON {
        let lengths = route.shares.map { state.resident(of: $0.model)?.model.contextLength }
        let isKnown = lengths.allSatisfy { $0 != nil }
        return [
            "id": .string(name), "object": "model",
            "created": .int(route.shares.compactMap { state.entries[$0.model]?.added }.max() ?? 0),
            "owned_by": "moru", "root": .string(route.shares.count == 1 ? route.shares[0].model : name),
            "parent": .null,
            "max_model_len": isKnown ? lengths.compactMap(\.self).min().map { .int($0) } ?? .null : .null,
            "route": route.json,
        ]
    }
}

extension CatalogState.Status {
    /// The name that clients see.
    var name: String {
        switch self {
        case .unloaded: "unloaded"
        case .loading: "loading"
        case .ready: "ready"
        case .failed: "failed"
        }
    }
}
