import MoruBase
import MoruEngine

/// The name that others use while they are moved to the catalogue.
typealias ModelList = ModelCatalog

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

    /// The body of `GET /v1/models`.
    var json: JSON {
        ["object": "list", "data": .array(read { state in state.names.map { Self.json(of: $0, in: state) } })]
    }

    /// The body of `GET /v1/models/{id}`.
    ///
    /// - Throws: ``APIError`` when there is no such model.
    func json(of name: String) throws(APIError) -> JSON {
        try read { state -> Result<JSON, APIError> in
            guard state.entries[name] != nil else { return .failure(APIError(state.unknown(name), param: "model")) }
            return .success(Self.json(of: name, in: state))
        }.get()
    }

    /// A model as OpenAI's API has it. `root`, `parent` and `max_model_len` are vLLM's extensions: what an adapter is an
    /// adapter of, and the context length, which is known of a loaded model; `state` and `version` are Moru's.
    private static func json(of name: String, in state: CatalogState) -> JSON {
        let (entry, model) = (state.entries[name], state.resident(of: name)?.model)
        let base = entry?.specification.base
        return [
            "id": .string(name), "object": "model", "created": .int(model?.created ?? entry?.added ?? 0),
            "owned_by": "moru", "root": .string(base ?? name), "parent": base.map { .string($0) } ?? .null,
            "max_model_len": model.map { .int($0.contextLength) } ?? .null,
            "state": .string(entry?.status.name ?? ""),
            "version": .string(ModelSpecification.version(of: name) ?? String(entry?.revision ?? 1)),
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
