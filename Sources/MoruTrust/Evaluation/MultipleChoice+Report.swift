import Foundation
import MoruBase

extension MultipleChoice {
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

    private static let shareKinds = [Figure.Kind("accuracy"), Figure.Kind("accuracy_for_length")]
    /// The figures that every report gives.
    static let figureKinds = shareKinds + Calibration.figureKinds + [Figure.seconds]

    /// What an evaluation found.
    public struct Report: ScoredReport {
        /// Each question, in the order of the data.
        public let outcomes: [Outcome]
        /// Seconds that it took, loading not counted.
        public let seconds: Double
        /// Whether the model knows what it knows.
        public let calibration: Calibration?
        /// Every figure, with its interval.
        public let figures: [Figure]

        init(_ outcomes: [Outcome], seconds: Double) {
            (self.outcomes, self.seconds) = (outcomes, seconds)
            calibration = Calibration(
                outcomes.map { (confidence: $0.confidence, isRight: $0.likeliest == $0.answer) })
            let right = outcomes.map { [$0.likeliest == $0.answer, $0.likeliestForLength == $0.answer] }
            let shares = Figure.measure(shareKinds, count: outcomes.count) { indices in
                (0...1).map { kind in Double(indices.count { right[$0][kind] }) / Double(indices.count) }
            }
            figures =
                shares + (calibration?.figures ?? [])
                + [Figure(Figure.seconds, value: seconds)]
        }

        /// The share of questions whose right answer is the likeliest.
        public var accuracy: Double { figure("accuracy")?.value ?? 0 }
        /// The share of questions whose right answer is the likeliest for its length.
        public var accuracyForLength: Double { figure("accuracy_for_length")?.value ?? 0 }
        /// Where ``accuracy`` of another sample like this one would lie, 95 times of 100.
        public var accuracyInterval: ConfidenceInterval? { figure("accuracy")?.interval }
        /// Where ``accuracyForLength`` would.
        public var accuracyForLengthInterval: ConfidenceInterval? { figure("accuracy_for_length")?.interval }
    }
}

extension MultipleChoice.Report {
    /// What it is called in recipes and JSON.
    public static var task: EvaluationTask { .choice }
    /// None: the choices differ from question to question.
    public var labels: [ClassificationMetrics] { [] }

    /// The questions; the worst are those where the model is surest of a wrong answer.
    public var cases: [EvaluationCase] {
        outcomes.map { outcome in
            let right = exp(outcome.logLikelihoods[outcome.answer] - outcome.logLikelihoods[outcome.likeliest])
            return EvaluationCase(
                question: outcome.context, reference: outcome.choices[outcome.answer],
                answer: outcome.choices[outcome.likeliest], isRight: outcome.likeliest == outcome.answer,
                badness: outcome.confidence,
                note: String(
                    format: "confidence %.0f %%, the right answer %.0f %%", outcome.confidence * 100,
                    outcome.confidence * right * 100))
        }
    }

    /// The report as JSON.
    ///
    /// - Parameter includingOutcomes: Whether to list every question.
    public func json(includingOutcomes: Bool = false) -> JSON {
        var result = JSONObject([
            ("task", .string(Self.task.rawValue)), ("examples", .int(outcomes.count)),
            ("accuracy", .double(accuracy)), ("accuracy_interval", accuracyInterval?.json ?? .null),
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

    /// Reads what ``json(includingOutcomes:)`` gave, with outcomes; nil when it is something else.
    init?(_ json: JSON) {
        guard let entries = json["outcomes"]?.array else { return nil }
        let outcomes = entries.compactMap { entry -> MultipleChoice.Outcome? in
            let choices = entry["choices"]?.array?.compactMap(\.string) ?? []
            let likelihoods = entry["log_likelihoods"]?.array?.compactMap(\.double) ?? []
            guard let question = entry["question"]?.string, let answer = entry["answer"]?.int,
                choices.indices.contains(answer), likelihoods.count == choices.count
            else { return nil }
            return MultipleChoice.Outcome(
                context: question, choices: choices, answer: answer, logLikelihoods: likelihoods)
        }
        guard outcomes.count == entries.count, !outcomes.isEmpty else { return nil }
        self.init(outcomes, seconds: json["seconds"]?.double ?? 0)
    }
}
