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
    /// Labels with more different values than this are free text, and only exact match counts.
    static let maximumLabelValues = 64

    /// How far an evaluation is.
    public struct Progress: Sendable {
        /// Examples answered.
        public let done: Int
        /// Examples in all.
        public let total: Int
    }

    private let generator: TextGenerator
    private let examples: [EvaluationExample]
    private let adapter: LoRAAdapter?
    private let maximumTokens: Int
    private let labelNames: [String]?

    /// Makes an evaluation; answers are greedy, so that they can be reproduced.
    ///
    /// - Parameters:
    ///   - generator: The model.
    ///   - examples: What to ask.
    ///   - adapter: The adapter to use with the model.
    ///   - maximumTokens: The most tokens of an answer.
    ///   - labels: The names of the labels to report; nil reports those that the references give.
    public init(
        _ generator: TextGenerator, _ examples: [EvaluationExample], adapter: LoRAAdapter? = nil,
        maximumTokens: Int = 64, labels: [String]? = nil
    ) {
        self.generator = generator
        self.examples = examples
        self.adapter = adapter
        self.maximumTokens = maximumTokens
        labelNames = labels
    }

    /// Generates every answer, several at a time, scores the references, and counts.
    ///
    /// - Parameter progress: Told after each answer.
    /// - Throws: What generating throws; ``MoruError/Code/evaluationData`` when a named label is in no reference.
    public func run(progress: @escaping @Sendable (Progress) -> Void = { _ in }) async throws -> EvaluationReport {
        let readers = try labelReaders()
        let begin = ContinuousClock.now
        let total = examples.count
        let options = GenerationOptions(
            temperature: 0, repetitionPenalty: 1, maximumTokens: maximumTokens, adapter: adapter)
        let answers = try await generator.generateAll(examples.map { ($0.generationPrompt, options) }) { done, _ in
            progress(Progress(done: done, total: total))
        }
        let seconds = (ContinuousClock.now - begin).seconds
        let outcomes = zip(examples, answers).map { example, answer in
            EvaluationReport.Outcome(
                question: example.question, reference: example.reference, answer: answer.text,
                isExact: answer.text.trimmingWhitespace() == example.reference.trimmingWhitespace(),
                predictions: readers.reduce(into: [:]) { $0[$1.name] = $1.read(answer.text) })
        }
        let labels = readers.map { reader in
            ClassificationMetrics(
                name: reader.name,
                outcomes.compactMap { outcome in
                    AnswerFields(outcome.reference)?.value(of: reader.name)
                        .map { (truth: $0, prediction: outcome.predictions[reader.name]) }
                })
        }
        let encoder = ExampleEncoder(generator.pretrained)
        let encoded = try examples.map { try encoder.encode($0.scoring) }
        return EvaluationReport(
            outcomes: outcomes, labels: labels,
            perplexity: try Perplexity(of: generator.pretrained.model, adapter: adapter, on: encoded),
            promptTokens: answers.reduce(0) { $0 + $1.usage.promptTokens },
            generatedTokens: answers.reduce(0) { $0 + $1.usage.generatedTokens }, seconds: seconds)
    }

    /// A reader for each label, with the values that the references give it.
    private func labelReaders() throws(MoruError) -> [LabelReader] {
        var values: [String: Set<String>] = [:]
        var order: [String] = []
        for example in examples {
            for (name, value) in AnswerFields(example.reference)?.fields ?? [] {
                if values[name] == nil { order.append(name) }
                values[name, default: []].insert(value)
            }
        }
        if let missing = labelNames?.first(where: { values[$0] == nil }) {
            throw MoruError(
                .evaluationData, "no reference answer gives the label \"\(missing)\"",
                remedy: order.isEmpty ? "the references give no labels" : "they give \(order.joined(separator: ", "))")
        }
        return (labelNames ?? order).compactMap { name in
            let known = (values[name] ?? []).sorted()
            return labelNames == nil && known.count > Self.maximumLabelValues
                ? nil : LabelReader(name: name, values: known)
        }
    }
}

extension EvaluationExample {
    var generationPrompt: MoruEngine.Prompt {
        switch prompt {
        case .messages(let messages): .chat(messages)
        case .text(let text): .text(text)
        }
    }

    var question: String {
        switch prompt {
        case .messages(let messages): messages.last?.content ?? ""
        case .text(let text): text
        }
    }
}

extension Duration {
    /// The length in seconds.
    var seconds: Double {
        let (seconds, attoseconds) = components
        return Double(seconds) + Double(attoseconds) * 1e-18
    }
}
