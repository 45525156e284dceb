import MoruBase
import MoruText
import MoruTraining

/// A prompt and the answer that is right.
public struct EvaluationExample: Sendable, Hashable {
    /// What the model is asked: a conversation that ends before the answer, or a text to go on from.
    public enum Prompt: Sendable, Hashable {
        /// A conversation.
        case messages([ChatMessage])
        /// A text.
        case text(String)
    }

    /// What the model is asked.
    public let prompt: Prompt
    /// The right answer.
    public let reference: String
    /// The same as an example to score the reference's tokens with.
    public let scoring: TrainingExample
    /// The file and line that it was read from, for error messages.
    public let place: String

    /// Takes the prompt and the reference from an example of tuning data.
    ///
    /// - Parameters:
    ///   - example: A conversation that ends with the assistant's turn, or a prompt and completion.
    ///   - place: The file and line, for error messages.
    /// - Throws: ``MoruError/Code/evaluationData`` when nothing is asked, or there is no answer to compare with.
    public init(_ example: TrainingExample, place: String) throws(MoruError) {
        scoring = example
        self.place = place
        switch example {
        case .messages(let messages, _):
            guard let last = messages.last, last.role == "assistant" else {
                throw MoruError(
                    .evaluationData, "\(place): the conversation does not end with the assistant's answer",
                    remedy: "evaluation compares the model's answer with that last message")
            }
            guard messages.count > 1 else {
                throw MoruError(
                    .evaluationData, "\(place): the conversation has no message before the assistant's answer",
                    remedy: "begin with the question, as the user's message")
            }
            prompt = .messages(Array(messages.dropLast()))
            reference = last.content
        case .completion(let text, let completion):
            guard !text.isEmpty else {
                throw MoruError(
                    .evaluationData, "\(place): the prompt is empty",
                    remedy: "give the text that the completion continues")
            }
            prompt = .text(text)
            reference = completion
        case .text:
            throw MoruError(
                .evaluationData, "\(place): a plain text has no answer to compare with",
                remedy: "use lines with messages, with prompt and completion, or with text and label")
        }
        guard !reference.trimmingWhitespace().isEmpty else {
            throw MoruError(
                .evaluationData, "\(place): the answer to compare with has no text",
                remedy: "write the right answer, or remove the line")
        }
    }

    /// Reads a JSONL file of labelled examples.
    ///
    /// - Parameters:
    ///   - path: Lines with `messages`, with `prompt` and `completion`, or with `text` and `label`.
    ///   - limit: How many examples to read at most.
    ///   - instruction: What to ask of `text` and `label` lines, as the system message; nil asks nothing.
    /// - Throws: ``MoruError/Code/dataMalformed`` or ``MoruError/Code/evaluationData``, naming file and line;
    ///   ``MoruError/Code/dataEmpty`` when the file holds no examples.
    public static func read(
        _ path: String, limit: Int? = nil, instruction: String? = nil
    ) throws(MoruError) -> [EvaluationExample] {
        var reader = try JSONLReader(path: path)
        var examples: [EvaluationExample] = []
        while examples.count < limit ?? Int.max, let record = try reader.next() {
            let place = "\(path):\(record.line)"
            let example = try TrainingExample(
                json: record.value, shape: shape(of: record.value),
                classification: ClassificationPrompt(instruction: instruction), place: place)
            examples.append(try EvaluationExample(example, place: place))
        }
        guard !examples.isEmpty else {
            throw MoruError(.dataEmpty, "\(path) holds no examples", remedy: "put one JSON object on each line")
        }
        return examples
    }

    /// The shape of a line; nil leaves it to the reader to tell, or to refuse it. Lines may have different shapes, and
    /// labels may stand beside another shape as notes.
    private static func shape(of json: JSON) -> ExampleShape? {
        let keys = Set(json.object?.keys ?? [])
        if keys.contains("messages") { return .chat }
        if keys.isSuperset(of: ["prompt", "completion"]) { return .completion }
        return keys.isSuperset(of: ["text", "label"]) ? .classification : nil
    }
}
