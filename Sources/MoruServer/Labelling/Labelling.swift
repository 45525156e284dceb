import MoruBase
import MoruModels
import MoruNN
import MoruTensor

/// What models that classify or embed say of texts, for every endpoint that asks: off the event loop, with the texts of
/// other requests, and given up when the client has gone, time is up or the server stops.
struct Labelling: Sendable {
    private let engine: LabellingEngine
    private let reader = TextReader()
    private let limits: RequestLimits

    /// One for a server.
    init(_ configuration: ServerConfiguration) {
        engine = LabellingEngine(
            maximumTokens: configuration.maximumWaitingTokens, maximumSeconds: configuration.maximumWaitSeconds)
        limits = RequestLimits(
            timeout: configuration.requestTimeout, shutdownGrace: configuration.shutdownGrace)
    }

    /// The vectors of texts, as `moru embed` makes them.
    ///
    /// - Throws: ``APIError`` for a model that makes none, or a text that the model cannot take;
    ///   ``MoruError/Code/engineOverloaded`` when too much waits; what ends requests; `CancellationError` when the
    ///   client has gone.
    func embed(
        _ texts: TextInputs, with lease: ModelLease, _ context: ServerContext
    ) async throws -> LabelledTexts {
        let embedder = try lease.model.embedding()
        let readsTexts = texts.inputs.contains { if case .text = $0 { true } else { false } }
        let skipped: Int
        do { skipped = readsTexts ? try embedder.skippedTokens(prompt: texts.prompt) : 0 } catch {
            throw APIError(error, param: "prompt_name")
        }
        let model = LabellingEngine.Model(
            network: ObjectIdentifier(embedder.model.base), adapter: embedder.adapter.map(ObjectIdentifier.init),
            isClassifier: false, skippedTokens: skipped)
        return try await rows(of: texts, TextReading(embedder), model, context) { [lease] batch in
            withExtendedLifetime(lease) {
                let vectors = embedder.vectors(of: batch, skipping: skipped)
                return batch.indices.map { vectors.rows($0..<$0 + 1).values() }
            }
        }
    }

    /// The logits of the labels of texts, in the order of the labels, as `moru classify` has them.
    ///
    /// - Throws: As ``embed(_:with:_:)``.
    func classify(
        _ texts: TextInputs, with lease: ModelLease, _ context: ServerContext
    ) async throws -> LabelledTexts {
        let headed = try lease.model.classifying()
        let model = LabellingEngine.Model(
            network: ObjectIdentifier(headed.base), adapter: headed.adapter.map(ObjectIdentifier.init),
            isClassifier: true, skippedTokens: 0)
        return try await rows(of: texts, TextReading(headed), model, context) { [lease] batch in
            withExtendedLifetime(lease) { headed.logits(of: batch).map { $0.values() } }
        }
    }

    private func rows(
        of texts: TextInputs, _ reading: TextReading, _ model: LabellingEngine.Model, _ context: ServerContext,
        _ compute: @escaping LabellingEngine.Computation
    ) async throws -> LabelledTexts {
        let monitor = try await ConnectionMonitorHandler.monitor(of: context.channel)
        let labelled = try await monitor.cancellingOnClose { [limits, reader, engine] in
            try await limits.apply {
                let tokens = try await reader.tokens(of: texts, for: reading)
                let rows = try await engine.rows(of: tokens, with: model, compute)
                return LabelledTexts(rows: rows, tokenCount: tokens.reduce(0) { $0 + $1.count })
            }
        }
        context.record.note(TokenUsage(promptTokens: labelled.tokenCount))
        return labelled
    }
}

extension ServedModel {
    /// The model as one that makes vectors of texts.
    ///
    /// - Throws: ``APIError`` where it does something else.
    func embedding() throws(APIError) -> TextEmbedder {
        guard case .embedder(let embedder) = function else {
            throw .unsuitable(self, for: "make vectors of texts")
        }
        return embedder
    }

    /// The model as one that labels whole texts.
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
