import MoruBase

extension ModelCatalog {
    /// The versions of a model that can be asked for: of the models `support`, `support@2` and `support@3`, the model
    /// `support` has all of theirs, and a route those of the models that it leads to.
    func versions(of name: String) -> [String] { read { Self.versions(of: name, in: $0).map(\.version) } }

    private static func versions(of name: String, in state: CatalogState) -> [(model: String, version: String)] {
        let routed = state.routes[name]?.shares.map(\.model) ?? []
        return state.names.compactMap { other in
            guard other == name || other.hasPrefix(name + "@") || routed.contains(other) else { return nil }
            return state.entries[other].map { (other, $0.version) }
        }
    }

    /// The name under which the catalogue has a version of a model.
    ///
    /// - Parameter version: nil for the one that the name stands for.
    /// - Throws: ``APIError`` that names the versions there are.
    func name(_ name: String, version: String?) throws(APIError) -> String {
        guard let version else { return name }
        let versions = read { Self.versions(of: name, in: $0) }
        guard !versions.isEmpty else { throw APIError(read { $0.unknown(name) }, param: "model") }
        let found = versions.first { $0.model == "\(name)@\(version)" } ?? versions.first { $0.version == version }
        guard let found else {
            throw .invalid(
                "model_not_found",
                "The model '\(name)' has no version '\(version)'; it has \(versions.map(\.version).quoted).",
                param: "model", status: .notFound)
        }
        return found.model
    }

    /// Whether a model is loaded; of a route, whether all are that it leads to.
    ///
    /// - Throws: ``APIError`` when there is none of the name.
    func isLoaded(_ name: String) throws(APIError) -> Bool {
        try read { state -> Result<Bool, APIError> in
            let models = state.routes[name]?.shares.filter { $0.weight > 0 }.map(\.model) ?? [name]
            guard models.allSatisfy({ state.entries[$0] != nil }) else {
                return .failure(APIError(state.unknown(name), param: "model"))
            }
            return .success(models.allSatisfy { state.resident(of: $0) != nil })
        }.get()
    }
}
