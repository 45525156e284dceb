import MoruBase
import MoruModels
import MoruNN
import MoruTensor
import MoruText

/// Classifies and embeds texts for all endpoints: off the event loop, batched with the texts of other requests, and
/// cancelled when the client disconnects, the time is up or the server stops.
///
/// All functions throw ``APIError`` for a model that does something else and for an unsuitable text;
/// ``MoruError/Code/engineOverloaded`` when too many texts are waiting; the errors of ``RequestLimits``; and
/// `CancellationError` when the client has disconnected.
struct Labelling: Sendable {
    private let engine: LabellingEngine
    private let reader = TextReader()
    private let limits: RequestLimits

    /// Makes one for a server.
    init(_ configuration: ServerConfiguration) {
        engine = LabellingEngine(
            maximumTokens: configuration.maximumWaitingTokens, maximumSeconds: configuration.maximumWaitSeconds)
        limits = RequestLimits(configuration)
    }

    /// The embeddings of texts, as computed by `moru embed`.
    func embed(
        _ texts: TextInputs, with lease: ModelLease, _ context: ServerContext
    ) async throws -> LabelledTexts<[Float]> {
        let embedder = try lease.model.embedding()
        try texts.checkCount()
        let prompts = embedder.modules.prompts.keys.sorted()
        if let name = texts.prompt, !prompts.contains(name) {
            let known = prompts.isEmpty ? "no prompts" : prompts.quoted
            throw APIError.wrongValue("prompt_name", "is '\(name)', and the model has \(known)")
        }
        let readsTexts = texts.inputs.contains { if case .text = $0 { true } else { false } }
        let skipped = readsTexts ? try embedder.skippedTokens(prompt: texts.prompt) : 0
        let model = LabellingEngine.Model(
            network: ObjectIdentifier(embedder.model.base), adapter: embedder.adapter.map(ObjectIdentifier.init),
            isClassifier: false, skippedTokens: skipped)
        let (reading, sizes) = (TextReading(embedder), texts.inputs.map(\.size))
        return try await run(context) { [reader, engine] () async throws -> LabelledTexts<[Float]> in
            let tokens = try await reader.map(sizes) { try reading.tokens(of: $0, in: texts) }
            let rows = try await engine.rows(of: tokens, with: model) { [lease] batch in
                withExtendedLifetime(lease) {
                    let vectors = embedder.vectors(of: batch.map(\.ids), skipping: skipped)
                    return batch.indices.map { vectors.rows($0..<$0 + 1).values() }
                }
            }
            return LabelledTexts(results: rows, tokenCount: tokens.tokenCount)
        }
    }

    /// The logits of texts, in the order of the labels, as computed by `moru classify`.
    func classify(
        _ texts: TextInputs, with lease: ModelLease, _ context: ServerContext
    ) async throws -> LabelledTexts<[Float]> {
        let headed = try lease.model.classifying()
        try texts.checkCount()
        let (reading, sizes) = (TextReading(headed), texts.inputs.map(\.size))
        return try await run(context) { [reader] () async throws -> LabelledTexts<[Float]> in
            let tokens = try await reader.map(sizes) { try reading.tokens(of: $0, in: texts) }
            return LabelledTexts(
                results: try await logits(of: tokens, with: headed, lease), tokenCount: tokens.tokenCount)
        }
    }

    /// The spans that a model finds in texts, as computed by `moru extract`.
    func extract(
        _ texts: TextInputs, with lease: ModelLease, _ context: ServerContext
    ) async throws -> LabelledTexts<[ExtractedSpan]> {
        guard case .classifier(let headed) = lease.model.function, headed.configuration.place == .token else {
            throw APIError.unsuitable(lease.model, for: "find things in texts")
        }
        try texts.checkCount()
        let sizes = texts.inputs.map(\.size)
        return try await run(context) { [reader] () async throws -> LabelledTexts<[ExtractedSpan]> in
            let encoded = try await reader.map(sizes) { try headed.encodedText($0, of: texts) }
            let tokens = encoded.map { TokenSequence($0.tokens.ids) }
            let rows = try await logits(of: tokens, with: headed, lease)
            let spans = try await reader.map(sizes) { index in
                headed.spans(in: encoded[index].text, encoded[index].tokens, logits: rows[index])
            }
            return LabelledTexts(results: spans, tokenCount: tokens.tokenCount)
        }
    }

    /// The scores of pairs of texts, a row of one number each: the output of a cross-encoder, or the cosine of their
    /// embeddings.
    func score(
        _ pairs: TextPairs, with lease: ModelLease, _ context: ServerContext
    ) async throws -> LabelledTexts<[Float]> {
        if case .embedder = lease.model.function { return try await cosines(pairs, with: lease, context) }
        let headed = try lease.model.classifying()
        let activation: @Sendable (Float) -> Float
        do { activation = try headed.pairActivation } catch { throw APIError(error, param: "model") }
        try pairs.second.checkCount()
        let sizes = pairs.second.inputs.indices.map { index in
            pairs.first.inputs[pairs.firstIndex(index)].size + pairs.second.inputs[index].size
        }
        return try await run(context) { [reader] () async throws -> LabelledTexts<[Float]> in
            let tokens = try await reader.map(sizes) { try headed.tokens(of: $0, in: pairs) }
            let rows = try await logits(of: tokens, with: headed, lease)
            return LabelledTexts(results: rows.map { $0.map(activation) }, tokenCount: tokens.tokenCount)
        }
    }

    private func cosines(
        _ pairs: TextPairs, with lease: ModelLease, _ context: ServerContext
    ) async throws -> LabelledTexts<[Float]> {
        async let first = embed(pairs.first, with: lease, context)
        async let second = embed(pairs.second, with: lease, context)
        let (left, right) = try await (first, second)
        let cosines = right.results.enumerated().map { index, row in
            [Self.cosine(left.results[pairs.firstIndex(index)], row)]
        }
        let tokenCount = left.tokenCount + right.tokenCount
        context.record.note(TokenUsage(promptTokens: tokenCount))
        return LabelledTexts(results: cosines, tokenCount: tokenCount)
    }

    private static func cosine(_ a: [Float], _ b: [Float]) -> Float {
        func product(_ a: [Float], _ b: [Float]) -> Double { zip(a, b).reduce(0) { $0 + Double($1.0) * Double($1.1) } }
        let lengths = (product(a, a) * product(b, b)).squareRoot()
        return lengths > 0 ? Float(product(a, b) / lengths) : 0
    }

    /// The logits of each of several texts.
    private func logits(
        of tokens: [TokenSequence], with headed: HeadedModel, _ lease: ModelLease
    ) async throws -> [[Float]] {
        let model = LabellingEngine.Model(
            network: ObjectIdentifier(headed.base), adapter: headed.adapter.map(ObjectIdentifier.init),
            isClassifier: true, skippedTokens: 0)
        return try await engine.rows(of: tokens, with: model) { [lease] batch in
            withExtendedLifetime(lease) { headed.logits(of: batch).map { $0.values() } }
        }
    }

    /// Runs the work of a request within its limits, and records the tokens that it took.
    private func run<Result>(
        _ context: ServerContext, _ work: @escaping @Sendable () async throws -> LabelledTexts<Result>
    ) async throws -> LabelledTexts<Result> {
        let monitor = try await ConnectionMonitorHandler.monitor(of: context.channel)
        let labelled = try await monitor.cancellingOnClose { [limits] in try await limits.apply(work) }
        context.record.note(TokenUsage(promptTokens: labelled.tokenCount))
        return labelled
    }
}

extension TextInputs {
    /// Refuses more texts than a request may have.
    fileprivate func checkCount() throws(APIError) {
        guard inputs.count > Self.maximumCount else { return }
        let field = names.first.map { String($0.prefix { $0 != "[" }) } ?? "input"
        throw .wrongValue(
            field, "has \(inputs.count) texts, and a request may have \(Self.maximumCount) at most")
    }
}

extension ServedModel {
    /// The model as an embedder.
    ///
    /// - Throws: ``APIError`` where it does something else.
    func embedding() throws(APIError) -> TextEmbedder {
        guard case .embedder(let embedder) = function else {
            throw .unsuitable(self, for: "make vectors of texts")
        }
        return embedder
    }

    /// The model as a classifier of whole texts.
    ///
    /// - Throws: ``APIError`` where it does something else.
    func classifying() throws(APIError) -> HeadedModel {
        guard case .classifier(let model) = function else { throw .unsuitable(self, for: "classify texts") }
        guard model.configuration.place == .sequence else {
            throw .invalid(
                "model_not_suitable", "The model '\(name)' labels the tokens of texts, not whole texts.",
                param: "model")
        }
        return model
    }
}
