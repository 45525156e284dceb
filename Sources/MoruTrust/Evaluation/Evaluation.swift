import Foundation
import MoruBase
import MoruEngine
import MoruNN
import MoruTraining

/// Asks a model for every example's answer and compares.
///
///     let examples = try EvaluationExample.read("test.jsonl")
///     let report = try await Evaluation(TextGenerator(model), examples).run()
///     print(report.exactMatch, report.labels.map(\.accuracy))
public struct Evaluation: Sendable {
    /// How far an evaluation is.
    public struct Progress: Sendable {
        /// Examples answered.
        public let done: Int
        /// Examples in all.
        public let total: Int
    }

    private let generator: TextGenerator
    private let examples: [EvaluationExample]
    private let adapter: (any Adapter)?
    private let maximumTokens: Int
    private let labelNames: [String]?
    private let metrics: [TextMetric]

    /// Makes an evaluation; answers are greedy, so that they can be reproduced.
    ///
    /// - Parameters:
    ///   - generator: The model.
    ///   - examples: What to ask.
    ///   - adapter: The adapter to use with the model.
    ///   - maximumTokens: The most tokens of an answer.
    ///   - labels: The names of the labels to report; nil reports those that the references give.
    ///   - metrics: How to compare answers and references as texts.
    public init(
        _ generator: TextGenerator, _ examples: [EvaluationExample], adapter: (any Adapter)? = nil,
        maximumTokens: Int = 64, labels: [String]? = nil, metrics: [TextMetric] = []
    ) {
        self.generator = generator
        self.examples = examples
        self.adapter = adapter
        self.maximumTokens = maximumTokens
        labelNames = labels
        self.metrics = metrics
    }

    /// Generates every answer, several at a time, scores the references, and counts.
    ///
    /// - Parameter progress: Told after each answer.
    /// - Throws: ``MoruError/Code/evaluationData`` when there are no examples or a named label is in no reference;
    ///   ``MoruError/Code/dataTooLong``, naming the example's place, when one does not fit the model's context; what
    ///   the chat template and generating throw.
    public func run(progress: @escaping @Sendable (Progress) -> Void = { _ in }) async throws -> EvaluationReport {
        guard !examples.isEmpty else {
            throw MoruError(.evaluationData, "there are no examples to evaluate", remedy: "give at least one")
        }
        let readers = try LabelReader.readers(of: examples, named: labelNames)
        let encoder = ExampleEncoder(generator.pretrained)
        let prompts = try examples.map { try prompt(of: $0) }
        let encoded = try examples.map { try encode($0, encoder) }
        let begin = ContinuousClock.now
        let total = examples.count
        // The model's probability of each token says how sure it is
        let options = GenerationOptions(
            temperature: 0, repetitionPenalty: 1, maximumTokens: maximumTokens, adapter: adapter, logProbabilities: 0)
        let answers = try await generator.generateAll(prompts.map { (.tokens($0), options) }) { done, _ in
            progress(Progress(done: done, total: total))
        }
        let seconds = (ContinuousClock.now - begin).seconds
        let perplexity = try Perplexity(of: generator.pretrained.model, adapter: adapter, on: encoded)
        let outcomes = examples.indices.map { index in
            let (example, answer) = (examples[index], answers[index])
            return EvaluationReport.Outcome(
                question: example.question, reference: example.reference, answer: answer.text,
                isExact: answer.text.trimmingWhitespace() == example.reference.trimmingWhitespace(),
                predictions: readers.reduce(into: [:]) { $0[$1.name] = $1.read(answer.text) },
                confidence: exp(answer.tokens.reduce(0) { $0 + Double($1.logProbability ?? 0) }),
                score: perplexity.scores[index])
        }
        return EvaluationReport(
            outcomes, labels: readers.map(\.name), metrics: metrics,
            cost: .init(
                promptTokens: answers.reduce(0) { $0 + $1.usage.promptTokens },
                generatedTokens: answers.reduce(0) { $0 + $1.usage.generatedTokens }, seconds: seconds))
    }

    /// What the model reads before it answers.
    private func prompt(of example: EvaluationExample) throws(MoruError) -> [Int32] {
        do {
            let tokens: [Int32]
            switch (example.prompt, example.scoring) {
            case (.messages(let messages), .messages(_, let tools)):
                tokens = try generator.pretrained.prompt(for: messages, tools: tools).tokens
            case (.messages(let messages), _): tokens = try generator.tokens(of: .chat(messages))
            case (.text(let text), _): tokens = try generator.tokens(of: .text(text))
            }
            // The answer needs a position of its own
            try requireFit(tokens.count + 1, "the prompt and a token to answer with")
            return tokens
        } catch {
            throw error.within(example.place)
        }
    }

    /// The prompt with the reference, to score it.
    private func encode(_ example: EvaluationExample, _ encoder: ExampleEncoder) throws(MoruError) -> TokenizedExample {
        do {
            let tokens = try encoder.encode(example.scoring)
            try requireFit(tokens.tokens.count, "the prompt and the right answer")
            return tokens
        } catch {
            throw error.within(example.place)
        }
    }

    private func requireFit(_ count: Int, _ what: String) throws(MoruError) {
        let limit = generator.pretrained.model.contextLength(with: adapter)
        guard count > limit else { return }
        throw MoruError(
            .dataTooLong, "\(what) take \(count) tokens, more than the model's context of \(limit)",
            remedy: "shorten the example, or use a model with a longer context")
    }

    /// The figures that an evaluation will give.
    ///
    /// - Throws: ``MoruError/Code/evaluationData`` when a named label is in no reference.
    static func figureKinds(
        _ examples: [EvaluationExample], labels: [String]?, metrics: [TextMetric]
    ) throws(MoruError) -> [Figure.Kind] {
        try LabelReader.readers(of: examples, named: labels).flatMap {
            ClassificationMetrics.kinds($0.name, $0.values)
        } + metrics.map(\.kind) + EvaluationReport.fixedKinds
    }
}

extension EvaluationExample {
    /// What a reader is shown as the question: the text, or the last message before the answer.
    package var question: String {
        switch prompt {
        case .messages(let messages): messages.last?.content ?? ""
        case .text(let text): text
        }
    }
}
