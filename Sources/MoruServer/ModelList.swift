import HTTPTypes
import MoruBase
import MoruEngine

/// The models that a server serves, by name.
struct ModelList: Sendable {
    /// In the order given.
    let models: [ServedModel]

    /// Makes a list.
    ///
    /// - Throws: ``MoruError/Code/serverConfiguration`` when it is empty or a name occurs twice.
    init(_ models: [ServedModel]) throws(MoruError) {
        guard !models.isEmpty else {
            throw MoruError(.serverConfiguration, "there is no model to serve", remedy: "name one")
        }
        var names: Set<String> = []
        for model in models {
            guard !model.name.isEmpty else {
                throw MoruError(.serverConfiguration, "a model's name is empty", remedy: "give it a name")
            }
            guard names.insert(model.name).inserted else {
                throw MoruError(
                    .serverConfiguration, "two models are named '\(model.name)'", remedy: "give each a name of its own")
            }
        }
        self.models = models
    }

    /// The model of a name.
    ///
    /// - Throws: ``APIError`` that names those there are.
    func model(_ name: String) throws(APIError) -> ServedModel {
        if let model = models.first(where: { $0.name == name }) { return model }
        let names = models.map(\.name)
        let hint = nearestName(to: name, among: names).map { " Did you mean '\($0)'?" } ?? ""
        throw .invalid(
            "model_not_found",
            "There is no model '\(name)'.\(hint) This server has \(names.map { "'\($0)'" }.joined(separator: ", ")).",
            param: "model", status: .notFound)
    }

    /// The model of a name, to be used.
    ///
    /// - Throws: As ``model(_:)``.
    func lease(_ name: String) async throws(APIError) -> ModelLease {
        let model = try model(name)
        RequestRecord.current?.note(model: model.name)
        return ModelLease(model)
    }

    /// Each engine under the name of the model that it computes; adapters are on their base's.
    var engines: [(model: String, engine: Engine)] {
        var found: [(model: String, engine: Engine)] = []
        for model in models.filter({ $0.adapter == nil }) + models {
            guard case .generator(let generator, _) = model.function,
                !found.contains(where: { $0.engine === generator.engine })
            else { continue }
            found.append((model.name, generator.engine))
        }
        return found
    }

    /// The body of `GET /v1/models`.
    var json: JSON { ["object": "list", "data": .array(models.map(json(of:)))] }

    /// The body of `GET /v1/models/{id}`. `root`, `parent` and `max_model_len` are vLLM's extensions: what an adapter
    /// is an adapter of, and the context length.
    func json(of model: ServedModel) -> JSON {
        let base = models.first { $0.adapter == nil && $0.isOnSameEngine(as: model) }
        return [
            "id": .string(model.name), "object": "model", "created": .int(model.created), "owned_by": "moru",
            "root": .string(base?.name ?? model.name),
            "parent": model.adapter == nil ? .null : base.map { .string($0.name) } ?? .null,
            "max_model_len": .int(model.contextLength),
        ]
    }
}
