import Foundation
import MoruBase
import MoruEngine
import MoruModels
import MoruNN
import MoruText

/// A model under the name that clients ask for. Each adapter is a model of its own on the engine of its base.
public struct ServedModel: Sendable {
    /// What a model does.
    public enum Function: Sendable {
        /// Generates text, with an adapter or none.
        case generator(TextGenerator, adapter: (any Adapter)?)
        /// Classifies texts, finds things in them, or tells a number of them.
        case classifier(HeadedModel)
        /// Makes vectors of texts.
        case embedder(TextEmbedder)
    }

    /// The name.
    public let name: String
    /// When it was made, in seconds since 1970.
    public let created: Int
    /// How often the name has got a new model, and 1.
    public let revision: Int
    /// What it does.
    public let function: Function
    /// Tells apart models whose answers may differ, as `system_fingerprint`.
    let fingerprint: String

    /// Makes a model.
    public init(name: String, created: Date = Date(), revision: Int = 1, _ function: Function) {
        (self.name, self.revision) = (name, revision)
        self.created = Int(created.timeIntervalSince1970)
        self.function = function
        let identity: [String]
        switch function {
        case .generator(let generator, let adapter):
            let pretrained = generator.pretrained
            identity = [
                pretrained.path, pretrained.storageDescription, pretrained.model.configurationJSON.text(),
                adapter.map { "\(name) \(JSON.object($0.peftConfiguration).text(sortedKeys: true))" } ?? "",
            ]
        case .classifier(let model):
            identity = [model.trunk.path, model.trunk.storageDescription, model.trunk.configuration.text()]
        case .embedder(let embedder):
            identity = [
                embedder.model.path, embedder.model.storageDescription, embedder.model.configuration.text(),
            ]
        }
        fingerprint = "fp_" + String(stableHash(identity.joined(separator: "\n")), radix: 16)
    }

    /// Makes a model that generates.
    public init(
        name: String, created: Date = Date(), generator: TextGenerator, adapter: (any Adapter)? = nil
    ) {
        self.init(name: name, created: created, .generator(generator, adapter: adapter))
    }

    /// The version that the name gives after its last `@`, or else the revision.
    var version: String { ModelSpecification.version(of: name) ?? String(revision) }

    /// The adapter that acts on its requests.
    var adapter: (any Adapter)? {
        switch function {
        case .generator(_, let adapter): adapter
        case .classifier(let model): model.adapter
        case .embedder(let embedder): embedder.adapter
        }
    }

    /// The most tokens of a text; of a prompt and its answer together, where it generates.
    var contextLength: Int {
        switch function {
        case .generator(let generator, let adapter):
            generator.engine.contextLength - (adapter?.virtualTokenCount ?? 0)
        case .classifier(let model): model.base.contextLength(with: model.adapter)
        case .embedder(let embedder): embedder.maximumTokens
        }
    }

    /// The tokenizer.
    var tokenizer: Tokenizer {
        switch function {
        case .generator(let generator, _): generator.pretrained.tokenizer
        case .classifier(let model): model.tokenizer
        case .embedder(let embedder): embedder.model.tokenizer
        }
    }

    /// The number of token ids that the model knows.
    var vocabularySize: Int {
        switch function {
        case .generator(let generator, _): generator.pretrained.model.facts.vocabularySize
        case .classifier(let model): model.base.facts.vocabularySize
        case .embedder(let embedder): embedder.model.base.facts.vocabularySize
        }
    }

    /// Whether two models share an engine.
    func isOnSameEngine(as other: ServedModel) -> Bool {
        guard case .generator(let mine, _) = function, case .generator(let its, _) = other.function else {
            return false
        }
        return mine.engine === its.engine
    }

    /// The model as one that generates.
    ///
    /// - Throws: ``APIError`` where it does something else.
    func generating() throws(APIError) -> GeneratingModel {
        guard case .generator(let generator, let adapter) = function else {
            throw .unsuitable(self, for: "generate text")
        }
        return GeneratingModel(name: name, generator: generator, adapter: adapter, contextLength: contextLength)
    }
}

/// A served model that generates.
struct GeneratingModel: Sendable {
    /// The name that clients ask for.
    let name: String
    /// What generates.
    let generator: TextGenerator
    /// The adapter that acts on its requests.
    let adapter: (any Adapter)?
    /// The most tokens of a prompt and its answer together.
    let contextLength: Int
    /// The tokenizer.
    var tokenizer: Tokenizer { generator.pretrained.tokenizer }
}

extension APIError {
    /// A model that does not do what an endpoint asks of it.
    static func unsuitable(_ model: ServedModel, for purpose: String) -> APIError {
        let purposeOfIts =
            switch model.function {
            case .generator: "it generates text"
            case .classifier: "it classifies texts"
            case .embedder: "it makes vectors of texts"
            }
        return .invalid(
            "model_not_suitable", "The model '\(model.name)' does not \(purpose): \(purposeOfIts).", param: "model")
    }
}
