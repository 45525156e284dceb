import MoruBase
import MoruEngine
import MoruModels
import MoruNN

/// A model that was opened, and the memory that it may take.
struct OpenedModel: Sendable {
    /// What it does.
    var function: ServedModel.Function
    /// Bytes of its weights, as they are stored.
    var weightBytes: Int
    /// Bytes of keys and values that its engine keeps at most.
    var cacheBytes = 0

    /// Bytes in all.
    var bytes: Int { weightBytes + cacheBytes }
}

/// Opens what a specification names, as what it is: a head makes a classifier, an encoder and a directory of
/// sentence-transformers an embedder, everything else a generator.
struct ModelLoader: Sendable {
    /// The path of what a specification names as its source.
    let locate: @Sendable (String) throws -> String
    /// The most bytes of keys and values of an engine that was not told; nil for its own choice.
    var defaultCacheBytes: Int?

    /// Where what a specification names lies; an adapter is a directory.
    ///
    /// - Throws: What locating throws, and ``MoruError/Code/fileNotFound``.
    func path(of specification: ModelSpecification) throws -> String {
        guard specification.base != nil else { return try locate(specification.source) }
        guard FileSystem.exists(specification.source) else {
            throw MoruError(
                .fileNotFound, "\(specification.source) does not exist", remedy: "name the directory of an adapter")
        }
        return specification.source
    }

    /// Opens what stands alone.
    ///
    /// - Throws: What the formats throw.
    func open(_ specification: ModelSpecification) throws -> OpenedModel {
        let path = try path(of: specification)
        switch specification.task ?? Self.task(of: path) {
        case .classify:
            let model = try HeadedModel.load(path)
            return OpenedModel(function: .classifier(model), weightBytes: Self.bytes(model.parameters))
        case .embed:
            let model = try TextEmbedder.load(path)
            let bytes = Self.bytes(model.model.base.parameters) + Self.bytes(model.modules.parameters)
            return OpenedModel(function: .embedder(model), weightBytes: bytes)
        case .generate:
            return try generator(PretrainedModel.load(path), specification)
        }
    }

    private func generator(
        _ pretrained: PretrainedModel, _ specification: ModelSpecification
    ) throws -> OpenedModel {
        var configuration = specification.engine
        let draft = try specification.draft.map { try PretrainedModel.load(try locate($0)) }
        var cacheBytes = try configuration.cacheCapacityBytes(for: pretrained.model, draft: draft?.model)
        if let bound = defaultCacheBytes, configuration.cacheBytes == nil, cacheBytes > bound {
            configuration.cacheBytes = bound
            cacheBytes = bound
        }
        let generator = try TextGenerator(pretrained, configuration: configuration, draft: draft)
        let bytes = Self.bytes(pretrained.model.parameters) + Self.bytes(draft?.model.parameters ?? [])
        return OpenedModel(
            function: .generator(generator, adapter: nil), weightBytes: bytes, cacheBytes: cacheBytes)
    }

    /// Opens an adapter on a model. It does what the model does, unless it brings a head along or says how vectors are
    /// made.
    ///
    /// - Throws: What the formats throw, and ``MoruError/Code/adapterMismatch``.
    func open(_ specification: ModelSpecification, on base: ServedModel) throws -> OpenedModel {
        let directory = try path(of: specification)
        let type = (try? JSON.parse(file: directory + "/adapter_config.json"))?["task_type"]?.string
        let isEmbedder =
            type == "FEATURE_EXTRACTION" || FileSystem.exists(directory + "/modules.json")
            || specification.task == .embed
        if HeadedModel.isHeaded("", adapter: directory) {
            let (trunk, ownBytes) = try trunk(of: base, forHead: true)
            let model = try AdapterDirectory.load(from: directory, forHeadOn: trunk)
            let bytes = Self.bytes(model.head.parameters) + Self.bytes(model.adapter?.parameters ?? [])
            return OpenedModel(function: .classifier(model), weightBytes: ownBytes + bytes)
        }
        let isOnEmbedder = if case .embedder = base.function { true } else { false }
        if isEmbedder || isOnEmbedder {
            let (trunk, ownBytes) = try trunk(of: base, forHead: false)
            var modules: SentenceModules?
            if case .embedder(let embedder) = base.function, embedder.isModelsOwn { modules = embedder.modules }
            let model = try TextEmbedder(trunk, modules: modules).adapted(from: directory)
            return OpenedModel(
                function: .embedder(model), weightBytes: ownBytes + Self.bytes(model.adapter?.parameters ?? []))
        }
        guard case .generator(let generator, _) = base.function else {
            throw MoruError(
                .adapterMismatch, "\(directory) is an adapter that brings no head, and '\(base.name)' classifies texts",
                remedy: "use it on a language model, or tune one with objective: classification")
        }
        let adapter = try AdapterDirectory.load(from: directory, for: generator.pretrained.model)
        return OpenedModel(
            function: .generator(generator, adapter: adapter), weightBytes: Self.bytes(adapter.parameters))
    }

    /// The network of a model, shared with it where its parameters have the names that are wanted, and the bytes that it
    /// takes where it is not.
    private func trunk(of base: ServedModel, forHead: Bool) throws -> (PretrainedTextModel, bytes: Int) {
        switch base.function {
        case .generator(let generator, _): return (try PretrainedTextModel(sharing: generator.pretrained), 0)
        case .classifier(let model): return (model.trunk, 0)
        case .embedder(let embedder):
            guard forHead, embedder.model.isEncoder else { return (embedder.model, 0) }
            let trunk = try PretrainedTextModel.load(embedder.model.path, forHead: true)
            return (trunk, Self.bytes(trunk.base.parameters))
        }
    }

    /// What the files at a path are for.
    private static func task(of path: String) -> ModelSpecification.Task {
        guard FileSystem.isDirectory(path) else { return .generate }
        if HeadedModel.isHeaded(path) { return .classify }
        if FileSystem.exists(path + "/modules.json") { return .embed }
        let type = (try? JSON.parse(file: path + "/config.json"))?["model_type"]?.string
        return type.map(Encoders.architectures.contains) == true ? .embed : .generate
    }

    private static func bytes(_ parameters: [Parameter]) -> Int {
        var seen: Set<ObjectIdentifier> = []
        return parameters.reduce(0) { seen.insert(ObjectIdentifier($1)).inserted ? $0 + $1.value.byteCount : $0 }
    }
}
