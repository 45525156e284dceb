import MoruBase
import MoruModels
import MoruTraining

/// A text, and what a head should say of it.
public struct HeadEvaluationExample: Sendable, Hashable {
    /// The text.
    public let text: String
    /// The label, or the number as the data gives it.
    public let reference: String
    /// The number; nil where it is a label.
    public let value: Double?
    /// The file and line that it was read from, for error messages.
    public let place: String

    /// Reads lines with `text` and `label`, or with `text` and `value`.
    ///
    /// - Parameters:
    ///   - path: A file of records: JSONL, JSON, CSV or TSV.
    ///   - limit: How many to read at most.
    /// - Throws: ``MoruError/Code/evaluationData``, naming file and line; ``MoruError/Code/dataEmpty`` without any; or
    ///   what reading data throws.
    public static func read(_ path: String, limit: Int? = nil) throws(MoruError) -> [HeadEvaluationExample] {
        var reader = try SourceReader(DataSource(path))
        var examples: [HeadEvaluationExample] = []
        while examples.count < limit ?? Int.max, let record = try reader.next() {
            let example = try HeadEvaluationExample(record.value, place: "\(record.place)")
            if let first = examples.first, (first.value == nil) != (example.value == nil) {
                throw MoruError(
                    .evaluationData, "\(example.place): a label beside numbers, or a number beside labels",
                    remedy: "evaluate classification and regression one by one")
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
        guard let text = record["text"]?.string, !text.isEmpty else {
            throw wrong(
                "there is no \"text\"", "a model with a head is evaluated on lines with text and label, or value")
        }
        (self.text, self.place) = (text, place)
        switch (record["label"], record["value"]) {
        case (.string(let label)?, _) where !label.isEmpty: (reference, value) = (label, nil)
        case (.int(let number)?, _): (reference, value) = (String(number), nil)
        case (.bool(let flag)?, _): (reference, value) = (String(flag), nil)
        case (nil, let given?):
            // CSV has nothing but strings
            guard let number = given.double ?? given.string.flatMap({ Double($0) }), number.isFinite else {
                throw wrong("\"value\" is \(given.text())", "it must be a number")
            }
            (reference, value) = ("\(number)", number)
        default:
            throw wrong("there is neither a \"label\" nor a \"value\"", "give the right label, or the number")
        }
    }
}

/// Compares what a model's head says of texts with what it should say: labels, or a number.
public struct HeadEvaluation: Sendable {
    private let model: HeadedModel
    private let examples: [HeadEvaluationExample]

    /// Makes an evaluation.
    public init(_ model: HeadedModel, _ examples: [HeadEvaluationExample]) {
        (self.model, self.examples) = (model, examples)
    }

    /// Classifies every text.
    ///
    /// - Parameter progress: Told now and then how many texts are done.
    /// - Throws: ``MoruError/Code/evaluationData`` when the data are of another kind than the head, or a label is none of
    ///   the head's; ``MoruError/Code/textTooLong``, naming the text's place.
    public func run(progress: (Evaluation.Progress) -> Void = { _ in }) throws(MoruError) -> HeadReport {
        let isNumber = try requireFit()
        let references = try examples.map { example throws(MoruError) in
            isNumber ? example.reference : try label(example)
        }
        let begin = ContinuousClock.now
        var outcomes: [HeadReport.Outcome] = []
        for first in stride(from: 0, to: examples.count, by: 64) {
            let part = first..<min(first + 64, examples.count)
            let found = try model.classify(examples[part].map(\.text))
            for (index, found) in zip(part, found) {
                guard let best = found.scores.first else { continue }
                outcomes.append(
                    HeadReport.Outcome(
                        text: examples[index].text, reference: references[index],
                        answer: isNumber ? "\(best.score)" : best.label,
                        confidence: isNumber ? nil : Double(best.score)))
            }
            progress(Evaluation.Progress(done: part.upperBound, total: examples.count))
        }
        return HeadReport(outcomes, isNumber: isNumber, seconds: (ContinuousClock.now - begin).seconds)
    }

    /// Refuses a head or texts that cannot be evaluated.
    ///
    /// - Returns: Whether the head tells a number.
    private func requireFit() throws(MoruError) -> Bool {
        let (head, path) = (model.configuration, model.trunk.path)
        let isNumber = head.problem == .regression
        guard head.place == .sequence, head.problem != .multiLabel, !isNumber || head.labels.count == 1 else {
            throw MoruError(
                .evaluationData, "\(path): a head that gives a text no single label or number cannot be evaluated",
                remedy: "use moru classify or moru extract with --output, and compare what it writes")
        }
        guard isNumber == (examples.first?.value != nil) else {
            throw MoruError(
                .evaluationData,
                "\(path): the head gives "
                    + (isNumber ? "a number, the data give labels" : "labels, the data give numbers"),
                remedy: isNumber ? "give lines with text and value" : "give lines with text and label")
        }
        for example in examples {
            do throws(MoruError) { _ = try model.tokens(of: example.text) } catch { throw error.within(example.place) }
        }
        return isNumber
    }

    /// The head's name of an example's label, which may be given as its number.
    private func label(_ example: HeadEvaluationExample) throws(MoruError) -> String {
        let (labels, wanted) = (model.configuration.labels, example.reference)
        if labels.contains(wanted) { return wanted }
        if let number = Int(wanted), labels.indices.contains(number) { return labels[number] }
        throw MoruError(
            .evaluationData, "\(example.place): the head has no label \(wanted)",
            remedy: "its labels are \(labels.joined(separator: ", "))")
    }
}
