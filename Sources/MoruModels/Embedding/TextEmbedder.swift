import MoruBase
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
    /// - Parameter modules: What makes one vector of hidden states; nil takes the mean of an encoder's states or the
    ///   last state of a language model, at length 1.
    public init(_ model: PretrainedTextModel, modules: SentenceModules? = nil) {
        self.model = model
        isModelsOwn = modules != nil
        self.modules = modules ?? SentenceModules(poolings: [model.isEncoder ? .mean : .lastToken])
    }

    /// Opens a sentence-transformers directory, or any other model that ``PretrainedTextModel/load(_:forHead:)`` opens.
    ///
    /// - Throws: What opening a model throws, and ``MoruError/Code/modelConfiguration`` or
    ///   ``MoruError/Code/modelUnsupported`` for modules that do not fit or are unknown.
    public static func load(_ path: String) throws(MoruError) -> TextEmbedder {
        let model = try PretrainedTextModel.load(path)
        let modules = FileSystem.isDirectory(path) ? try SentenceModules(directory: path) : nil
        if let modules, case .dense(let layer, _) = modules.steps.first,
            layer.inputs != modules.poolings.count * model.base.facts.hiddenSize
        {
            throw MoruError(
                .modelConfiguration,
                "\(path): the first Dense module reads \(layer.inputs) elements, the pooling gives "
                    + "\(modules.poolings.count * model.base.facts.hiddenSize)",
                remedy: "restore the files that came with the model")
        }
        return TextEmbedder(model, modules: modules)
    }

    /// Elements of a vector.
    public var dimensions: Int { modules.dimensions(hiddenSize: model.base.facts.hiddenSize) }

    /// The most tokens of a text, those around it and a prompt's included.
    public var maximumTokens: Int { min(modules.maximumTokens ?? .max, model.base.facts.contextLength) }

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
        let skipped = modules.includesPrompt || prefix.isEmpty ? 0 : promptLength(prefix)
        var parts: [Tensor] = []
        var next = 0
        while next < texts.count {
            var (count, end) = (encoded.sequences[next].count, next + 1)
            while end < texts.count, count + encoded.sequences[end].count <= Self.batchTokens {
                count += encoded.sequences[end].count
                end += 1
            }
            parts.append(vectors(of: Array(encoded.sequences[next..<end]), skipping: skipped))
            next = end
            try progress(next)
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
    /// - Parameter skipping: Tokens at the beginning of each that are not pooled.
    public func vectors(of sequences: [[Int32]], skipping: Int = 0) -> Tensor {
        var batch = TokenBatch(sequences)
        let texts = batch.segments
        // Few rows are computed by kernels of their own, which round otherwise
        if let token = batch.tokens.first, batch.count <= Runtime.fewRows {
            batch.append(Array(repeating: token, count: Runtime.fewRows + 1))
        }
        let segments = texts.map { segment in
            segment.rows.lowerBound + min(skipping, segment.rows.count - 1)..<segment.rows.upperBound
        }
        return modules(model.base.hiddenStates(batch), segments: segments)
    }

    private func promptText(_ name: String?) throws(MoruError) -> String {
        guard let name = name ?? modules.defaultPrompt else { return "" }
        if let text = modules.prompts[name] { return text }
        let names = modules.prompts.keys.sorted()
        throw MoruError(
            .promptUnknown, "\(model.path) has no prompt called \"\(name)\"",
            remedy: names.isEmpty ? "it has no prompts at all" : "it has \(names.joined(separator: ", "))")
    }

    /// Tokens of a prompt at the beginning of a text.
    private func promptLength(_ prompt: String) -> Int {
        let around = model.tokenizer.surroundingTokens
        return around.before.count
            + model.tokenizer.encode(prompt, addSpecialTokens: false, parseSpecial: false).count
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
            let after = tokenizer.surroundingTokens.after
            sequences[index] = ids.prefix(max(0, limit - after.count)) + after.suffix(limit)
            truncated.append(index)
        }
        return (sequences, truncated)
    }

    /// Writes the model as a sentence-transformers directory.
    ///
    /// - Parameter dtype: How the weights are stored; nil keeps them as they were.
    /// - Throws: As ``PretrainedTextModel/save(to:head:configuration:dtype:maximumShardBytes:)``.
    public func save(to directory: String, dtype: DType? = nil) throws {
        let facts = model.base.facts
        try model.save(to: directory, dtype: dtype) { temporary in
            try modules.write(
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
