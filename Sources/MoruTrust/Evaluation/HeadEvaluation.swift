import MoruBase
import MoruModels
import MoruTraining

/// A text, and what a head should say of it.
public struct HeadEvaluationExample: Sendable, Hashable {
    /// What is right.
    public enum Truth: Sendable, Hashable {
        /// One label.
        case label(String)
        /// A number.
        case value(Double)
        /// Any number of labels.
        case labels([String])
        /// What is to be found in the text.
        case spans([TextSpan])
    }

    /// The text.
    public let text: String
    /// What is right.
    public let truth: Truth
    /// The file and line that it was read from, for error messages.
    public let place: String

    /// Reads lines with `text` and `label`, `value`, `labels` or `entities`, or with `tokens` and `tags`, all of one kind.
    ///
    /// - Parameters:
    ///   - path: A file of records: JSONL, JSON, CSV or TSV.
    ///   - limit: How many to read at most.
    /// - Throws: ``MoruError/Code/evaluationData`` or ``MoruError/Code/dataMalformed``, naming file and line;
    ///   ``MoruError/Code/dataEmpty`` without any; or what reading data throws.
    public static func read(_ path: String, limit: Int? = nil) throws(MoruError) -> [HeadEvaluationExample] {
        var reader = try SourceReader(DataSource(path))
        var examples: [HeadEvaluationExample] = []
        while examples.count < limit ?? Int.max, let record = try reader.next() {
            let example = try HeadEvaluationExample(record.value, place: "\(record.place)")
            if let first = examples.first, first.truth.kind != example.truth.kind {
                throw MoruError(
                    .evaluationData,
                    "\(example.place): \(example.truth.kind.rawValue) beside \(first.truth.kind.rawValue)",
                    remedy: "evaluate each kind of head on its own file")
            }
            examples.append(example)
        }
        guard !examples.isEmpty else {
            throw MoruError(.dataEmpty, "\(path) holds no examples", remedy: "put one JSON object on each line")
        }
        return examples
    }

    private init(_ record: JSON, place: String) throws(MoruError) {
        func wrong(_ message: String, _ remedy: String) -> MoruError {
            MoruError(.evaluationData, "\(place): \(message)", remedy: remedy)
        }
        self.place = place
        let keys = Set(record.object?.keys ?? [])
        if !keys.isDisjoint(with: ["labels", "entities", "tokens"]) {
            (text, truth) = try Self.sets(record, keys.contains("labels") ? .classification : .extraction, place)
            return
        }
        guard let text = record["text"]?.string, !text.isEmpty else {
            throw wrong(
                "there is no \"text\"",
                "a model with a head is evaluated on lines with text and label, value, labels or entities")
        }
        self.text = text
        switch (record["label"], record["value"]) {
        case (.string(let label)?, _) where !label.isEmpty: truth = .label(label)
        case (.int(let number)?, _): truth = .label(String(number))
        case (.bool(let flag)?, _): truth = .label(String(flag))
        case (nil, let given?):
            // CSV has nothing but strings
            guard let number = given.double ?? given.string.flatMap({ Double($0) }), number.isFinite else {
                throw wrong("\"value\" is \(given.text())", "it must be a number")
            }
            truth = .value(number)
        default:
            throw wrong(
                "there is neither a \"label\" nor a \"value\"",
                "give the right label, or the number; labels or entities where there may be several")
        }
    }

    /// What a record of several labels or spans says.
    private static func sets(
        _ record: JSON, _ objective: Recipe.Objective, _ place: String
    ) throws(MoruError) -> (text: String, truth: Truth) {
        switch try LabelledRecordParser(objective: objective).parse(record, place: place) {
        case .text(let text, .labels(let labels)): return (text, .labels(labels))
        case .spans(let text, let spans): return (text, .spans(spans))
        case .words(let words, let tags):
            // Words are joined by spaces, as in training
            var (ranges, begin): ([Range<Int>], Int) = ([], 0)
            for word in words {
                ranges.append(begin..<begin + word.unicodeScalars.count)
                begin += word.unicodeScalars.count + 1
            }
            let spans = TagScheme.spans(of: tags).map { span in
                TextSpan(
                    ranges[span.tokens.lowerBound].lowerBound..<ranges[span.tokens.upperBound - 1].upperBound,
                    span.label)
            }
            return (words.joined(separator: " "), .spans(spans))
        case .text, .texts, .pair: preconditionFailure("a record of sets has neither labels nor spans")
        }
    }
}

extension HeadEvaluationExample.Truth {
    /// Which of the four it is, by what messages call it.
    enum Kind: String {
        case label = "labels", value = "numbers", labels = "sets of labels", spans

        /// The fields that give it.
        var fields: String {
            switch self {
            case .label: "text and label"
            case .value: "text and value"
            case .labels: "text and labels"
            case .spans: "text and entities, or tokens and tags"
            }
        }
    }

    var kind: Kind {
        switch self {
        case .label: .label
        case .value: .value
        case .labels: .labels
        case .spans: .spans
        }
    }

    /// The labels that it names.
    fileprivate var labels: [String] {
        switch self {
        case .label(let label): [label]
        case .value: []
        case .labels(let labels): labels
        case .spans(let spans): spans.map(\.label)
        }
    }
}

/// Compares what a model's head says of texts with what it should say: labels, spans, or a number.
public struct HeadEvaluation: Sendable {
    private let model: HeadedModel
    private let examples: [HeadEvaluationExample]

    /// Makes an evaluation.
    public init(_ model: HeadedModel, _ examples: [HeadEvaluationExample]) {
        (self.model, self.examples) = (model, examples)
    }

    /// Classifies every text, or finds the spans in it.
    ///
    /// - Parameter progress: Told now and then how many texts are done.
    /// - Throws: ``MoruError/Code/evaluationData`` when the data are of another kind than the head, or a label is none of
    ///   the head's; ``MoruError/Code/textTooLong``, naming the text's place.
    public func run(progress: (Evaluation.Progress) -> Void = { _ in }) throws(MoruError) -> any ScoredReport {
        try requireFit()
        let begin = ContinuousClock.now
        func seconds() -> Double { (ContinuousClock.now - begin).seconds }
        switch kind {
        case .label, .value:
            let outcomes = try outcomes(progress, model.classify, single)
            return HeadReport(outcomes, isNumber: kind == .value, seconds: seconds())
        case .labels:
            let outcomes = try outcomes(progress, model.classify, labels)
            return SetReport(outcomes, labels: model.configuration.labels, seconds: seconds())
        case .spans:
            let outcomes = try outcomes(progress, model.extract, spans)
            return SetReport(outcomes, labels: nil, seconds: seconds())
        }
    }

    /// What the head gives.
    private var kind: HeadEvaluationExample.Truth.Kind {
        switch (model.configuration.place, model.configuration.problem) {
        case (.token, _): .spans
        case (_, .multiLabel): .labels
        case (_, .regression): .value
        case (_, .singleLabel): .label
        }
    }

    private func single(
        _ example: HeadEvaluationExample, _ found: TextClassification
    ) throws(MoruError) -> HeadReport.Outcome {
        let best = found.scores[0]
        switch example.truth {
        case .label(let label):
            return HeadReport.Outcome(
                text: example.text, reference: try name(of: label, example), answer: best.label,
                confidence: Double(best.score))
        case .value(let value):
            return HeadReport.Outcome(
                text: example.text, reference: "\(value)", answer: "\(best.score)", confidence: nil)
        case .labels, .spans: preconditionFailure("the data are sets")
        }
    }

    private func labels(
        _ example: HeadEvaluationExample, _ found: TextClassification
    ) throws(MoruError) -> SetReport.Outcome {
        var right: Set<String> = []
        for label in example.truth.labels { right.insert(try name(of: label, example)) }
        // In the order of the head's
        let all = model.configuration.labels
        return SetReport.Outcome(
            text: example.text, reference: all.filter(right.contains).map { SetReport.Item($0) },
            answer: all.filter(found.labels.contains).map { SetReport.Item($0) })
    }

    private func spans(
        _ example: HeadEvaluationExample, _ found: [ExtractedSpan]
    ) throws(MoruError) -> SetReport.Outcome {
        guard case .spans(let spans) = example.truth else { preconditionFailure("the data are not spans") }
        return SetReport.Outcome(
            text: example.text, reference: spans.map { SetReport.Item($0.label, $0.range) },
            answer: found.map { SetReport.Item($0.label, $0.start..<$0.end) })
    }

    /// What becomes of every example, some texts at a time.
    private func outcomes<Prediction, Outcome>(
        _ progress: (Evaluation.Progress) -> Void,
        _ predict: (_ texts: [String], _ truncates: Bool) throws(MoruError) -> [Prediction],
        _ outcome: (HeadEvaluationExample, Prediction) throws(MoruError) -> Outcome
    ) throws(MoruError) -> [Outcome] {
        var outcomes: [Outcome] = []
        for first in stride(from: 0, to: examples.count, by: 64) {
            let part = examples[first..<min(first + 64, examples.count)]
            for (example, found) in zip(part, try predict(part.map(\.text), false)) {
                outcomes.append(try outcome(example, found))
            }
            progress(Evaluation.Progress(done: part.endIndex, total: examples.count))
        }
        return outcomes
    }

    /// Refuses a head or texts that cannot be evaluated.
    private func requireFit() throws(MoruError) {
        let (head, path) = (model.configuration, model.trunk.path)
        guard head.problem != .regression || head.labels.count == 1 else {
            throw MoruError(
                .evaluationData, "\(path): a head of \(head.labels.count) numbers cannot be evaluated",
                remedy: "use moru classify with --output, and compare what it writes")
        }
        let (wanted, found) = (kind, examples.first?.truth.kind)
        guard found == wanted else {
            throw MoruError(
                .evaluationData,
                "\(path): the head gives \(wanted.rawValue), the data give \(found?.rawValue ?? "nothing")",
                remedy: "give lines with " + wanted.fields)
        }
        for example in examples {
            do throws(MoruError) { _ = try model.tokens(of: example.text) } catch { throw error.within(example.place) }
            for label in example.truth.labels { _ = try name(of: label, example) }
        }
    }

    /// The head's name of an example's label, which may be given as its number.
    private func name(of wanted: String, _ example: HeadEvaluationExample) throws(MoruError) -> String {
        let head = model.configuration
        let labels = head.place == .sequence ? head.labels : TagScheme.labels(of: head.labels)
        if labels.contains(wanted) { return wanted }
        if head.place == .sequence, let number = Int(wanted), labels.indices.contains(number) { return labels[number] }
        throw MoruError(
            .evaluationData, "\(example.place): the head has no label \(wanted)",
            remedy: "its labels are \(labels.joined(separator: ", "))")
    }

    /// The figures that an evaluation on examples will give.
    static func figureKinds(_ examples: [HeadEvaluationExample]) -> [Figure.Kind] {
        let labels = Set(examples.flatMap(\.truth.labels))
        switch examples.first?.truth {
        case .value?: return HeadReport.numberFigures
        case .labels?: return SetReport.figureKinds(labels: labels, areSpans: false)
        case .spans?: return SetReport.figureKinds(labels: labels, areSpans: true)
        case .label?, nil: return HeadReport.labelFigures(labels)
        }
    }
}
