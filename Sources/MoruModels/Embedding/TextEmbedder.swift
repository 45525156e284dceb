import MoruBase
import MoruNN
import MoruTensor
import MoruText
import Synchronization

/// Turns texts into vectors whose directions say what the texts are about.
public struct TextEmbedder: Sendable {
    /// The network and its tokenizer.
    public let model: PretrainedTextModel
    /// What makes one vector of a text's hidden states.
    public var modules: SentenceModules
    /// Whether the model says so itself, or it is what Moru uses where a model says nothing.
    public let isModelsOwn: Bool
    /// The adapter that acts on the network; nil for none. Its virtual tokens are never pooled: the first row is the
    /// text's.
    public let adapter: (any Adapter)?

    /// Vectors of texts.
    public struct Result: Sendable {
        /// [texts, dimensions], f32.
        public var vectors: Tensor
        /// Tokens read, those around each text and those of prompts included.
        public var tokenCount: Int
        /// The places of texts that were cut short.
        public var truncated: [Int]
    }

    /// Makes an embedder of a model.
    ///
    /// - Parameters:
    ///   - modules: What makes one vector of hidden states; nil takes the mean of an encoder's states or the last state
    ///     of a language model, at length 1.
    ///   - adapter: An adapter that acts on the network.
    public init(_ model: PretrainedTextModel, modules: SentenceModules? = nil, adapter: (any Adapter)? = nil) {
        (self.model, self.adapter) = (model, adapter)
        isModelsOwn = modules != nil
        self.modules = modules ?? SentenceModules(poolings: [model.isEncoder ? .mean : .lastToken])
    }

    /// Opens a sentence-transformers directory, or any other model that ``PretrainedTextModel/load(_:forHead:)`` opens.
    ///
    /// - Parameter adapter: An adapter in PEFT's layout; modules that lie beside it take the place of the model's.
    /// - Throws: What opening a model or an adapter throws, and ``MoruError/Code/modelConfiguration`` or
    ///   ``MoruError/Code/modelUnsupported`` for modules that do not fit or are unknown.
    public static func load(_ path: String, adapter: String? = nil) throws(MoruError) -> TextEmbedder {
        let model = try PretrainedTextModel.load(path)
        let modules = FileSystem.isDirectory(path) ? try SentenceModules(directory: path) : nil
        let embedder = TextEmbedder(model, modules: modules)
        if let adapter { return try embedder.adapted(from: adapter) }
        try embedder.checkModules()
        return embedder
    }

    /// The same model with an adapter in PEFT's layout; modules that lie beside it take the place of the model's.
    ///
    /// - Throws: As ``load(_:adapter:)``.
    public func adapted(from directory: String) throws(MoruError) -> TextEmbedder {
        let adapter = try AdapterDirectory.load(from: directory, for: model.base)
        let own = try SentenceModules(directory: directory)
        let adapted = TextEmbedder(
            model, modules: own ?? modules, adapter: adapter, isModelsOwn: own != nil || isModelsOwn)
        try adapted.checkModules()
        return adapted
    }

    /// Refuses modules of which the first projection does not fit the pooling.
    private func checkModules() throws(MoruError) {
        guard case .dense(let layer, _) = modules.steps.first else { return }
        let count = modules.poolings.count * model.base.facts.hiddenSize
        guard layer.inputs != count else { return }
        throw MoruError(
            .modelConfiguration,
            "\(model.path): the first Dense module reads \(layer.inputs) elements, the pooling gives \(count)",
            remedy: "restore the files that came with the model")
    }

    /// The same model with an adapter.
    public func adapted(by adapter: (any Adapter)?) -> TextEmbedder {
        TextEmbedder(model, modules: modules, adapter: adapter, isModelsOwn: isModelsOwn)
    }

    private init(
        _ model: PretrainedTextModel, modules: SentenceModules, adapter: (any Adapter)?, isModelsOwn: Bool
    ) {
        (self.model, self.modules, self.adapter, self.isModelsOwn) = (model, modules, adapter, isModelsOwn)
    }

    /// Elements of a vector.
    public var dimensions: Int { modules.dimensions(hiddenSize: model.base.facts.hiddenSize) }

    /// The most tokens of a text, those around it and a prompt's included.
    public var maximumTokens: Int {
        min(modules.maximumTokens ?? .max, model.base.contextLength(with: adapter))
    }

    /// Tokens that are passed through the network at a time, but for a longer text.
    private static let batchTokens = 4096

    /// The vectors of some texts.
    ///
    /// A text's vector does not depend on the others.
    ///
    /// - Parameters:
    ///   - texts: The texts.
    ///   - prompt: The name of a prompt of the model's to go before each text; nil for the model's default, if it has
    ///     one.
    ///   - truncates: Whether a text of more than ``maximumTokens`` tokens is cut short; without it, it is an error.
    ///   - progress: Is told after every batch how many texts are done.
    /// - Throws: ``MoruError/Code/textTooLong`` with the text's number, ``MoruError/Code/promptUnknown``,
    ///   ``MoruError/Code/textEmpty``, or ``MoruError/Code/weightsNotFinite``.
    public func embed(
        _ texts: [String], prompt: String? = nil, truncates: Bool = false,
        progress: (_ done: Int) throws -> Void = { _ in }
    ) throws -> Result {
        let prefix = try promptText(prompt)
        let encoded = try tokens(of: texts, prefix: prefix, truncates: truncates)
        let skipped = skippedTokens(of: prefix)
        var parts: [Tensor] = []
        for run in TokenBatch.runs(of: encoded.sequences.map(\.count), atMost: Self.batchTokens) {
            parts.append(vectors(of: Array(encoded.sequences[run]), skipping: skipped))
            try progress(run.upperBound)
        }
        let vectors = parts.isEmpty ? Tensor.zeros([0, dimensions]) : Tensor.concatenated(parts)
        guard vectors.isFinite else {
            let culprit = model.base.firstNonFiniteParameter()
            throw MoruError(
                .weightsNotFinite,
                "\(model.path): vectors are not finite"
                    + (culprit.map { ", since \($0) holds numbers that are not" } ?? ""),
                remedy: "use another copy of the model")
        }
        return Result(
            vectors: vectors, tokenCount: encoded.sequences.reduce(0) { $0 + $1.count }, truncated: encoded.truncated)
    }

    /// The vectors [sequences.count, dimensions] of token sequences, none of them empty.
    ///
    /// - Parameters:
    ///   - skipping: Tokens at the beginning of each that are not pooled.
    ///   - dropout: The source of dropout's randomness; nil outside training.
    public func vectors(of sequences: [[Int32]], skipping: Int = 0, dropout: DropoutSource? = nil) -> Tensor {
        let batch = TokenBatch(sequences, adapter: adapter, dropout: dropout)
        let segments = batch.segments.map { segment in
            segment.rows.lowerBound + min(skipping, segment.rows.count - 1)..<segment.rows.upperBound
        }
        return modules(model.base.hiddenStates(batch.withManyRows), segments: segments)
    }

    private func promptText(_ name: String?) throws(MoruError) -> String {
        guard let name = name ?? modules.defaultPrompt else { return "" }
        if let text = modules.prompts[name] { return text }
        let names = modules.prompts.keys.sorted()
        throw MoruError(
            .promptUnknown, "\(model.path) has no prompt called \"\(name)\"",
            remedy: names.isEmpty ? "it has no prompts at all" : "it has \(names.joined(separator: ", "))")
    }

    /// Tokens of a prompt at the beginning of a text that are not pooled.
    private func skippedTokens(of prompt: String) -> Int {
        guard !modules.includesPrompt, !prompt.isEmpty else { return 0 }
        let around = model.tokenizer.surroundingTokens
        return around.before.count
            + model.tokenizer.encode(prompt, addSpecialTokens: false, parseSpecial: false).count
    }

    /// Tokens of the default prompt that are not pooled.
    package var skippedTokens: Int { skippedTokens(of: modules.defaultPrompt.flatMap { modules.prompts[$0] } ?? "") }

    /// Tokens at the beginning of a text after a prompt that are not pooled.
    ///
    /// - Parameter name: The prompt's name; nil for the default, if there is one.
    /// - Throws: ``MoruError/Code/promptUnknown``.
    package func skippedTokens(prompt name: String?) throws(MoruError) -> Int {
        skippedTokens(of: try promptText(name))
    }

    /// The tokens of a text after a prompt, however many they are.
    ///
    /// - Parameter name: The prompt's name; nil for the default, if there is one.
    /// - Throws: ``MoruError/Code/promptUnknown``.
    package func tokens(
        of text: String, prompt name: String? = nil, addSpecialTokens: Bool = true
    ) throws(MoruError) -> [Int32] {
        let whole = try promptText(name) + text
        return model.tokenizer.encode(
            modules.lowercases ? whole.lowercased() : whole, addSpecialTokens: addSpecialTokens, parseSpecial: false)
    }

    /// The tokens of a text after the default prompt.
    ///
    /// - Parameters:
    ///   - limit: The most tokens, beside the embedder's own limit.
    ///   - truncates: Whether a longer text is cut.
    /// - Throws: ``MoruError/Code/textTooLong``, or ``MoruError/Code/textEmpty`` for a text without tokens.
    package func tokens(of text: String, limit: Int, truncates: Bool) throws(MoruError) -> [Int32] {
        let ids = try tokens(of: text)
        guard !ids.isEmpty else {
            throw MoruError(.textEmpty, "the text has no tokens", remedy: "leave it out, or give it content")
        }
        let limit = min(limit, maximumTokens)
        guard ids.count > limit else { return ids }
        guard truncates else {
            throw MoruError(
                .textTooLong, "the text has \(ids.count) tokens, the limit is \(limit)",
                remedy: "shorten it, or have it cut")
        }
        return model.tokenizer.cut(ids, to: limit)
    }

    /// The tokens of texts, and which were cut short.
    private func tokens(
        of texts: [String], prefix: String, truncates: Bool
    ) throws(MoruError) -> (sequences: [[Int32]], truncated: [Int]) {
        let (tokenizer, lowercases) = (model.tokenizer, modules.lowercases)
        let encoded = Mutex([[Int32]](repeating: [], count: texts.count))
        Runtime.shared.threads.forRanges(texts.count, minimum: 8, partsPerThread: 4) { range in
            for index in range {
                let text = prefix + texts[index]
                let ids = tokenizer.encode(lowercases ? text.lowercased() : text, parseSpecial: false)
                encoded.withLock { $0[index] = ids }
            }
        }
        var sequences = encoded.withLock { $0 }
        var truncated: [Int] = []
        let limit = maximumTokens
        for (index, ids) in sequences.enumerated() {
            guard !ids.isEmpty else {
                throw MoruError(
                    .textEmpty, "text \(index + 1) has no tokens", remedy: "leave it out, or give it content")
            }
            guard ids.count > limit else { continue }
            guard truncates else {
                throw MoruError(
                    .textTooLong, "text \(index + 1) has \(ids.count) tokens, \(model.path) reads at most \(limit)",
                    remedy: "split it, or allow it to be cut short (--truncate)")
            }
            sequences[index] = tokenizer.cut(ids, to: limit)
            truncated.append(index)
        }
        return (sequences, truncated)
    }

    /// Writes the model as a sentence-transformers directory.
    ///
    /// - Parameter dtype: How the weights are stored; nil keeps them as they were.
    /// - Throws: As ``PretrainedTextModel/save(to:head:configuration:dtype:maximumShardBytes:)``.
    public func save(to directory: String, dtype: DType? = nil) throws {
        precondition(adapter == nil, "a model with an adapter is saved as the adapter")
        let facts = model.base.facts
        try model.save(to: directory, dtype: dtype) { temporary in
            try modules.write(
                to: temporary, hiddenSize: facts.hiddenSize, contextLength: facts.contextLength)
        }
    }
}

extension Adapter {
    /// Writes the adapter in PEFT's layout for a model without a head (`AutoModel`), and beside it the modules and the
    /// tokenizer, so that the directory is one that sentence-transformers opens where it finds the base model; but for
    /// virtual tokens, with which only PEFT goes on.
    ///
    /// - Parameters:
    ///   - directory: Replaced whole once everything is written; what is there must be an adapter or empty.
    ///   - baseModel: The base model's name or path, which PEFT shows and loads.
    ///   - embedder: The model whose vectors it changes.
    /// - Throws: As ``save(to:baseModel:)``.
    public func save(to directory: String, baseModel: String, withModulesOf embedder: TextEmbedder) throws {
        let (model, facts) = (embedder.model, embedder.model.base.facts)
        var config = peftConfiguration(for: model)
        config["task_type"] = "FEATURE_EXTRACTION"
        let outer = PEFTFile.outerName(of: model.base)
        try write(
            to: directory, baseModel: baseModel, config,
            name: { $0.hasPrefix(outer) ? String($0.dropFirst(outer.count)) : $0 }
        ) { temporary in
            try ModelDirectory.carry(ModelDirectory.tokenizerFiles, from: model.path, to: temporary)
            try embedder.modules.write(
                to: temporary, hiddenSize: facts.hiddenSize, contextLength: facts.contextLength)
        }
    }
}

extension MoruError.Code {
    /// A text of more tokens than the model reads.
    public static let textTooLong = MoruError.Code("embedding.text-too-long", .limit)
    /// A text without tokens.
    public static let textEmpty = MoruError.Code("embedding.text-empty", .invalidInput)
    /// A prompt that the model does not have.
    public static let promptUnknown = MoruError.Code("embedding.prompt-unknown", .notFound)
}
