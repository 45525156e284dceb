import MoruBase

extension ModelCatalog {
    /// The versions of a model that can be asked for: of the models `support`, `support@2` and `support@3`, the model
    /// `support` has all of theirs.
    func versions(of name: String) -> [String] {
        read { state in
            state.names.compactMap { other in
                guard other == name || other.hasPrefix(name + "@") else { return nil }
                return ModelSpecification.version(of: other) ?? state.entries[other].map { String($0.revision) }
            }
        }
    }

    /// The name under which the catalogue has a version of a model.
    ///
    /// - Parameter version: nil for the one that the name stands for.
    /// - Throws: ``APIError`` that names the versions there are.
    func name(_ name: String, version: String?) throws(APIError) -> String {
        guard let version else { return name }
        let (names, versions) = (names, versions(of: name))
        if names.contains("\(name)@\(version)") { return "\(name)@\(version)" }
        guard !versions.isEmpty else { throw APIError(read { $0.unknown(name) }, param: "model") }
        guard versions.contains(version), names.contains(name) else {
            throw .invalid(
                "model_not_found",
                "The model '\(name)' has no version '\(version)'; it has "
                    + versions.map { "'\($0)'" }.joined(separator: ", ") + ".", param: "model", status: .notFound)
        }
        return name
    }

    /// Whether a model is loaded.
    ///
    /// - Throws: ``APIError`` when there is none of the name.
    func isLoaded(_ name: String) throws(APIError) -> Bool {
        try read { state -> Result<Bool, APIError> in
            guard state.entries[name] != nil else { return .failure(APIError(state.unknown(name), param: "model")) }
            return .success(state.resident(of: name) != nil)
        }.get()
    }
}
