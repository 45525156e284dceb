import MoruBase
import MoruText

/// Something to learn from.
public enum TrainingExample: Sendable, Hashable {
    /// A conversation. A message with `weight` 0 among its ``ChatMessage/extra`` members is not learnt.
    case messages([ChatMessage], tools: [JSON]?)
    /// A text and how it goes on.
    case completion(prompt: String, completion: String)
    /// A text.
    case text(String)
}

/// Two answers to the same prompt, one better than the other. Only the answers are learnt.
public struct PreferencePair: Sendable, Hashable {
    /// The prompt with the better answer.
    public let chosen: TrainingExample
    /// The prompt with the worse answer.
    public let rejected: TrainingExample

    /// Makes a pair.
    public init(chosen: TrainingExample, rejected: TrainingExample) {
        self.chosen = chosen
        self.rejected = rejected
    }
}

/// What a record of a data file says.
public enum DataExample: Sendable, Hashable {
    /// Something to learn from.
    case single(TrainingExample)
    /// Something to prefer to something else.
    case pair(PreferencePair)
}

extension TrainingExample {
    /// Reads an example from a record. Fields that the shape does not use are ignored.
    ///
    /// - Parameters:
    ///   - json: The record.
    ///   - shape: The shape to expect; nil tells it from the fields.
    ///   - classification: How a text with a label is put to a model.
    ///   - place: The file and line, for error messages.
    /// - Throws: ``MoruError/Code/dataMalformed`` or ``MoruError/Code/dataAmbiguous``.
    public init(
        json: JSON, shape: ExampleShape? = nil, classification: ClassificationPrompt = ClassificationPrompt(),
        place: String
    ) throws(MoruError) {
        let parser = ExampleParser(classification: classification)
        var shape = shape
        if shape == nil { shape = try parser.shape(of: json, place: place) }
        guard case .single(let example) = try parser.parse(json, as: shape ?? .text, place: place) else {
            throw MoruError(
                .dataMalformed, "\(place): the record is a pair of answers to choose between",
                remedy: "use it for preference tuning, or give it prompt and completion")
        }
        self = example
    }
}
