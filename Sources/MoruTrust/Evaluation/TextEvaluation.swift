import Foundation
import MoruBase
import MoruEngine
import MoruModels
import MoruNN
import MoruTraining

/// How well a model predicts texts: perplexity and bits per byte of whole documents.
///
/// A document longer than the context is read in windows that do not overlap, each given the token before it; the first
/// token follows the one that begins a text, or ends one. Every token is scored once, as in the lm-eval harness.
public struct TextEvaluation: Sendable {
    private let model: PretrainedModel
    private let documents: [String]
    private let adapter: (any Adapter)?
    private let windowLength: Int

    /// Makes an evaluation.
    ///
    /// - Parameters:
    ///   - model: The model.
    ///   - documents: The texts.
    ///   - adapter: The adapter to use with the model.
    ///   - windowLength: The most tokens that are read at once; nil for the model's context.
    public init(
        _ model: PretrainedModel, _ documents: [String], adapter: (any Adapter)? = nil, windowLength: Int? = nil
    ) {
        (self.model, self.documents, self.adapter) = (model, documents, adapter)
        let limit = model.model.contextLength(with: adapter)
        self.windowLength = max(2, min(windowLength ?? limit, limit))
    }

    /// Reads the documents of files: lines with `text`, or texts.
    ///
    /// - Parameters:
    ///   - path: A file, a folder or a pattern.
    ///   - limit: How many documents to read at most.
    /// - Throws: What reading data throws; ``MoruError/Code/dataEmpty`` without a document.
    public static func read(_ path: String, limit: Int? = nil) throws(MoruError) -> [String] {
        var reader = try ExampleReader(DataSource(path, shape: .text))
        var documents: [String] = []
        while documents.count < limit ?? Int.max, let entry = try reader.next() {
            if case .single(.text(let text)) = entry.example { documents.append(text) }
        }
        guard !documents.isEmpty else {
            throw MoruError(.dataEmpty, "\(path) holds no texts", remedy: "name a text file, or lines with \"text\"")
        }
        return documents
    }

    /// Scores every document.
    ///
    /// - Parameter progress: Told now and then how many documents are done.
    /// - Throws: ``MoruError/Code/evaluationData`` when a document has no token, or the tokenizer no token to begin
    ///   with; ``MoruError/Code/weightsNotFinite`` when the result is not finite.
    public func run(progress: (Evaluation.Progress) -> Void = { _ in }) throws(MoruError) -> TextReport {
        let begin = ContinuousClock.now
        let tokenizer = model.tokenizer
        guard let start = tokenizer.beginOfSequence ?? tokenizer.endOfSequence else {
            throw MoruError(
                .evaluationData, "the tokenizer of \(model.path) has no token that begins or ends a text",
                remedy: "its first token could not be scored; use another model")
        }
        var windows: [TokenizedExample] = []
        var owners: [Int] = []
        for (index, document) in documents.enumerated() {
            let tokens = [start] + tokenizer.encode(document, addSpecialTokens: false)
            guard tokens.count > 1 else {
                throw MoruError(
                    .evaluationData, "document \(index + 1) has no tokens", remedy: "leave empty documents out")
            }
            for first in stride(from: 0, to: tokens.count - 1, by: windowLength - 1) {
                let window = Array(tokens[first..<min(tokens.count, first + windowLength)])
                windows.append(TokenizedExample(tokens: window, isTarget: window.map { _ in true }))
                owners.append(index)
            }
        }
        let found = try Perplexity(of: model.model, adapter: adapter, on: windows) { done in
            let document = done > 0 ? owners[done - 1] + (done == windows.count ? 1 : 0) : 0
            progress(Evaluation.Progress(done: document, total: documents.count))
        }
        var scores = documents.map { _ in Perplexity.Score() }
        for (owner, score) in zip(owners, found.scores) {
            scores[owner].negativeLogLikelihood += score.negativeLogLikelihood
            scores[owner].tokens += score.tokens
        }
        return TextReport(
            zip(documents, scores).map { TextReport.Outcome(text: $0, bytes: $0.utf8.count, score: $1) },
            seconds: (ContinuousClock.now - begin).seconds)
    }
}

/// What reading texts found.
public struct TextReport: ScoredReport {
    /// One document.
    public struct Outcome: Sendable, Hashable {
        /// The text.
        public let text: String
        /// Its length in bytes.
        public let bytes: Int
        /// What it takes.
        public let score: Perplexity.Score
    }

    /// Each document, in the order of the data.
    public let outcomes: [Outcome]
    /// Of all documents.
    public let perplexity: Perplexity
    /// Seconds that it took, loading not counted.
    public let seconds: Double
    /// Every figure, with its interval.
    public let figures: [Figure]

    init(_ outcomes: [Outcome], seconds: Double) {
        (self.outcomes, self.seconds) = (outcomes, seconds)
        perplexity = Perplexity(outcomes.map(\.score))
        let rate = seconds > 0 ? Double(perplexity.tokens) / seconds : nil
        figures =
            perplexity.figures(bytes: outcomes.map(\.bytes))
            + [Figure(Figure.seconds, value: seconds), Figure(Figure.tokensPerSecond, value: rate)]
    }
}

extension TextReport {
    /// What it is called in recipes and JSON.
    public static var task: EvaluationTask { .text }
    /// The figures that every report gives.
    static let figureKinds = Perplexity.figureKinds + [Figure.seconds, Figure.tokensPerSecond]
    /// None.
    public var labels: [ClassificationMetrics] { [] }
    /// None.
    public var calibration: Calibration? { nil }

    /// The documents; the worst are those with the highest loss of a token.
    public var cases: [EvaluationCase] {
        outcomes.map { outcome in
            EvaluationCase(
                question: outcome.text, reference: "", answer: "", isRight: nil, badness: outcome.score.loss,
                note: String(format: "loss %.3f over %d tokens", outcome.score.loss, outcome.score.tokens))
        }
    }

    /// The report as JSON.
    ///
    /// - Parameter includingOutcomes: Whether to list every document.
    public func json(includingOutcomes: Bool = false) -> JSON {
        func value(_ name: String) -> JSON { figure(name)?.value.map { .double($0) } ?? .null }
        func interval(_ name: String) -> JSON { figure(name)?.interval?.json ?? .null }
        var result = JSONObject([
            ("task", .string(Self.task.rawValue)), ("examples", .int(outcomes.count)),
            ("perplexity", value("perplexity")), ("perplexity_interval", interval("perplexity")),
            ("bits_per_byte", value("bits_per_byte")), ("bits_per_byte_interval", interval("bits_per_byte")),
            ("negative_log_likelihood", .double(perplexity.negativeLogLikelihood)),
            ("scored_tokens", .int(perplexity.tokens)), ("bytes", .int(outcomes.reduce(0) { $0 + $1.bytes })),
            ("seconds", .double(seconds)), ("tokens_per_second", value("tokens_per_second")),
        ])
        if includingOutcomes {
            result["outcomes"] = .array(
                outcomes.map { outcome in
                    [
                        "text": .string(outcome.text), "bytes": .int(outcome.bytes),
                        "negative_log_likelihood": .double(outcome.score.negativeLogLikelihood),
                        "scored_tokens": .int(outcome.score.tokens),
                    ]
                })
        }
        return .object(result)
    }

    /// Reads what ``json(includingOutcomes:)`` gave, with outcomes; nil when it is something else.
    init?(_ json: JSON) {
        guard let entries = json["outcomes"]?.array else { return nil }
        let outcomes = entries.compactMap { entry -> Outcome? in
            guard let text = entry["text"]?.string, let loss = entry["negative_log_likelihood"]?.double,
                let tokens = entry["scored_tokens"]?.int
            else { return nil }
            return Outcome(
                text: text, bytes: text.utf8.count, score: .init(negativeLogLikelihood: loss, tokens: tokens))
        }
        guard outcomes.count == entries.count, !outcomes.isEmpty else { return nil }
        self.init(outcomes, seconds: json["seconds"]?.double ?? 0)
    }
}
