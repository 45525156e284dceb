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

    /// What the model made of one question.
    public struct Outcome: Sendable, Hashable {
        /// The question.
        public let context: String
        /// The answers.
        public let choices: [String]
        /// The place of the right one.
        public let answer: Int
        /// The log-probability of each answer, in nats.
        public let logLikelihoods: [Double]

        /// The place of the likeliest answer.
        public var likeliest: Int { Self.largest(logLikelihoods) }
        /// The place of the answer that is likeliest for its length in characters: long answers are not punished.
        public var likeliestForLength: Int {
            Self.largest(zip(logLikelihoods, choices).map { $0 / Double($1.unicodeScalars.count) })
        }
        /// The probability of the likeliest answer, were these all there are.
        public var confidence: Double {
            let most = logLikelihoods[likeliest]
            return 1 / logLikelihoods.reduce(0) { $0 + exp($1 - most) }
        }

        private static func largest(_ values: [Double]) -> Int {
            values.indices.reduce(0) { values[$1] > values[$0] ? $1 : $0 }
        }
    }

    /// What an evaluation found.
    public struct Report: Sendable {
        /// Each question, in the order of the data.
        public let outcomes: [Outcome]
        /// Seconds that it took, loading not counted.
        public let seconds: Double

        /// The share of questions whose right answer is the likeliest.
        public var accuracy: Double { share(outcomes.indices) { $0.likeliest == $0.answer } }
        /// The share of questions whose right answer is the likeliest for its length.
        public var accuracyForLength: Double { share(outcomes.indices) { $0.likeliestForLength == $0.answer } }
        /// Where ``accuracy`` of another sample like this one would lie, 95 times of 100.
        public var accuracyInterval: ConfidenceInterval? {
            ConfidenceInterval(bootstrapping: outcomes.count) { share($0) { $0.likeliest == $0.answer } }
        }
        /// Where ``accuracyForLength`` would.
        public var accuracyForLengthInterval: ConfidenceInterval? {
            ConfidenceInterval(bootstrapping: outcomes.count) { share($0) { $0.likeliestForLength == $0.answer } }
        }
        /// Whether the model knows what it knows.
        public var calibration: Calibration? {
            Calibration(outcomes.map { (confidence: $0.confidence, isRight: $0.likeliest == $0.answer) })
        }

        private func share(_ indices: some Collection<Int>, _ isRight: (Outcome) -> Bool) -> Double {
            indices.isEmpty ? 0 : Double(indices.count { isRight(outcomes[$0]) }) / Double(indices.count)
        }

        /// The report as JSON.
        ///
        /// - Parameter includingOutcomes: Whether to list every question.
        public func json(includingOutcomes: Bool = false) -> JSON {
            var result = JSONObject([
                ("examples", .int(outcomes.count)), ("accuracy", .double(accuracy)),
                ("accuracy_interval", accuracyInterval?.json ?? .null),
                ("accuracy_for_length", .double(accuracyForLength)),
                ("accuracy_for_length_interval", accuracyForLengthInterval?.json ?? .null),
                ("calibration", calibration?.json ?? .null), ("seconds", .double(seconds)),
            ])
            if includingOutcomes {
                result["outcomes"] = .array(
                    outcomes.map { outcome in
                        [
                            "question": .string(outcome.context),
                            "choices": .array(outcome.choices.map { .string($0) }), "answer": .int(outcome.answer),
                            "log_likelihoods": .array(outcome.logLikelihoods.map { .double($0) }),
                            "likeliest": .int(outcome.likeliest),
                            "likeliest_for_length": .int(outcome.likeliestForLength),
                        ]
                    })
            }
            return .object(result)
        }
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
        return Report(
            outcomes: zip(examples, likelihoods).map { example, values in
                Outcome(
                    context: example.context, choices: example.choices, answer: example.answer, logLikelihoods: values)
            }, seconds: (ContinuousClock.now - begin).seconds)
    }

    /// The tokens of a context with an answer, and how many of them are the context's.
    private struct Encoded: Sendable {
        var tokens: [Int32]
        var contextCount: Int
    }

    private func encode(_ context: String, _ choice: String, place: String) throws(MoruError) -> Encoded {
        let tokenizer = generator.pretrained.tokenizer
        // White space at the end of the context goes to the answer, whose first token it is part of
        let trimmed = context.trimmingSuffix { $0.isWhitespace }
        let whole = trimmed + context.suffix(context.count - trimmed.count) + " " + choice
        let tokens = tokenizer.encode(whole, addSpecialTokens: true)
        let contextCount = max(1, tokenizer.encode(trimmed, addSpecialTokens: true).count)
        let limit = generator.engine.contextLength - (adapter?.virtualTokenCount ?? 0)
        guard tokens.count <= limit else {
            throw MoruError(
                .dataTooLong, "\(place): the question and an answer take \(tokens.count) tokens, more than \(limit)",
                remedy: "shorten the question, or use a model with a longer context")
        }
        guard tokens.count > contextCount else {
            throw MoruError(
                .evaluationData, "\(place): the answer \"\(choice)\" has no token of its own after the question",
                remedy: "end the question with white space or a mark")
        }
        return Encoded(tokens: tokens, contextCount: contextCount)
    }

    private func scores(of choices: [Encoded]) async throws -> [Double] {
        var values: [Double] = []
        for choice in choices {
            let scores = try await generator.score(tokens: choice.tokens, adapter: adapter)
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
