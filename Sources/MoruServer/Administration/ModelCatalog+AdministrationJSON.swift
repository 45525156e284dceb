import MoruBase

// What administrators see of a catalogue.
extension ModelCatalog {
    /// The body of `GET /admin/models`.
    var administrationJSON: JSON {
        read { state in
            let leaving = state.residents.values.filter(\.isLeaving).sorted { $0.id < $1.id }
            return [
                "models": .array(state.names.map { Self.administrationJSON(of: $0, in: state) }),
                "routes": .object(
                    JSONObject(state.routeNames.compactMap { name in state.routes[name].map { (name, $0.json) } })),
                "memory": [
                    "budget_bytes": state.budget.map { .int($0) } ?? .null, "used_bytes": .int(state.usedBytes),
                ],
                "leaving": .array(
                    leaving.map {
                        [
                            "name": .string($0.model.name), "version": .string($0.model.version),
                            "requests_at_work": .int($0.leases), "bytes": .int($0.bytes),
                        ]
                    }),
            ]
        }
    }

    /// A model of it.
    func administrationJSON(of name: String) -> JSON { read { Self.administrationJSON(of: name, in: $0) } }

    private static func administrationJSON(of name: String, in state: CatalogState) -> JSON {
        guard let entry = state.entries[name] else { return .null }
        let (specification, resident) = (entry.specification, state.resident(of: name))
        var error: JSON = .null
        if case .failed(let reason, _) = entry.status { error = .string(reason.description) }
        return [
            "name": .string(name), "state": .string(entry.isSwapping ? "replacing" : entry.status.name),
            "task": resident.map { .string($0.model.function.task.rawValue) } ?? .null,
            "version": .string(entry.version), "revision": .int(entry.revision),
            "source": specification.source.isEmpty ? .null : .string(specification.source),
            "base": specification.base.map { .string($0) } ?? .null, "pinned": .bool(specification.isPinned),
            "weight_bytes": resident.map { .int($0.weightBytes) } ?? .null,
            "kv_bytes": resident.map { .int($0.cacheBytes) } ?? .null,
            "requests_at_work": .int(resident?.leases ?? 0),
            "max_model_len": resident.map { .int($0.model.contextLength) } ?? .null, "error": error,
        ]
    }
}

extension ModelRoute {
    /// The route as requests write it.
    var json: JSON {
        [
            "models": .object(JSONObject(shares.map { ($0.model, .double($0.weight)) })), "sticky": .bool(isSticky),
        ]
    }
}

extension ServedModel.Function {
    /// What it is, as specifications name it.
    var task: ModelSpecification.Task {
        switch self {
        case .generator: .generate
        case .classifier: .classify
        case .embedder: .embed
        }
    }
}
