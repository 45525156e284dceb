import Foundation
import MoruBase
import MoruEngine
import MoruNN

/// Asks a model which of several answers it finds likeliest, without letting it write a word.
///
/// As in the lm-eval harness: an answer, with a space before it, is scored as what follows the context, and is a run of
/// the tokens of both together. A base model can be judged this way as well as one that follows instructions.
public struct MultipleChoice: Sendable {
    private let generator: TextGenerator
    private let examples: [MultipleChoiceExample]
    private let adapter: (any Adapter)?

    /// Makes an evaluation.
    public init(_ generator: TextGenerator, _ examples: [MultipleChoiceExample], adapter: (any Adapter)? = nil) {
        (self.generator, self.examples, self.adapter) = (generator, examples, adapter)
    }

    /// Scores every answer, many at a time.
    ///
    /// - Parameter progress: Told after each question.
    /// - Throws: ``MoruError/Code/evaluationData`` when there are no questions; ``MoruError/Code/dataTooLong``, naming
    ///   the question's place, when one does not fit the model's context; what scoring throws.
    public func run(
        progress: @escaping @Sendable (Evaluation.Progress) -> Void = { _ in }
    ) async throws -> Report {
        guard !examples.isEmpty else {
            throw MoruError(.evaluationData, "there are no questions to ask", remedy: "give at least one")
        }
        let encoded = try examples.map { example in
            try example.choices.map { try encode(example.context, $0, place: example.place) }
        }
        let begin = ContinuousClock.now
        var likelihoods = encoded.map { [Double](repeating: 0, count: $0.count) }
        try await withThrowingTaskGroup(of: (Int, [Double]).self) { group in
            var next = 0
            // A few questions at a time keep the engine full; more would only hold memory
            func add() {
                guard next < encoded.count else { return }
                let place = next
                next += 1
                group.addTask { (place, try await scores(of: encoded[place])) }
            }
            for _ in 0..<4 { add() }
            var done = 0
            while let (place, values) = try await group.next() {
                likelihoods[place] = values
                done += 1
                progress(Evaluation.Progress(done: done, total: encoded.count))
                add()
            }
        }
        let outcomes = zip(examples, likelihoods).map { example, values in
            Outcome(context: example.context, choices: example.choices, answer: example.answer, logLikelihoods: values)
        }
        return Report(outcomes, seconds: (ContinuousClock.now - begin).seconds)
    }

    /// The tokens of a context with an answer, and how many of them are the context's.
    private struct Encoded: Sendable {
        var tokens: [Int32]
        var contextCount: Int
    }

    /// The most tokens of a context with an answer.
    private var limit: Int { generator.engine.contextLength - (adapter?.virtualTokenCount ?? 0) }

    private func encode(_ context: String, _ choice: String, place: String) throws(MoruError) -> Encoded {
        let tokenizer = generator.pretrained.tokenizer
        // White space at the end of the context goes to the answer, whose first token it is part of
        let trimmed = context.trimmingSuffix { $0.isWhitespace }
        let whole = trimmed + context.suffix(context.count - trimmed.count) + " " + choice
        let tokens = tokenizer.encode(whole, addSpecialTokens: true)
        let contextCount = max(1, tokenizer.encode(trimmed, addSpecialTokens: true).count)
        guard tokens.count <= limit else {
            throw MoruError(
                .dataTooLong, "\(place): the question and an answer take \(tokens.count) tokens, more than \(limit)",
                remedy: "shorten the question, or use a model with a longer context")
        }
        guard tokens.count > contextCount else {
            throw MoruError(
                .evaluationData, "\(place): the answer \"\(choice)\" has no separate token after the question",
                remedy: "end the question with white space or a mark")
        }
        return Encoded(tokens: tokens, contextCount: contextCount)
    }

    private func scores(of choices: [Encoded]) async throws -> [Double] {
        var values: [Double] = []
        for choice in choices {
            // The harness asks for one token more, and so do we: a run of few rows is rounded otherwise than one of more
            let request = GenerationRequest(
                prompt: choice.tokens, maximumTokens: choice.tokens.count < limit ? 1 : 0, promptLogProbabilities: 0,
                adapter: adapter)
            var scores: [TokenScore]?
            for try await case .promptScored(let found) in generator.engine.generate(request) {
                scores = found
                break
            }
            guard let scores else { throw MoruError(.cancelled, "the scoring was cancelled") }
            values.append(
                scores[choice.contextCount...].reduce(0) { $0 + Double($1.logProbability ?? 0) })
        }
        return values
    }
}

extension String {
    /// The text without the characters at its end that fit.
    fileprivate func trimmingSuffix(while fits: (Character) -> Bool) -> String {
        String(self[..<(lastIndex { !fits($0) }.map { index(after: $0) } ?? startIndex)])
    }
}
