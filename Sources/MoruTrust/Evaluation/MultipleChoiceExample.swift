import MoruBase
import MoruTraining

/// A question with several answers, one of which is right.
public struct MultipleChoiceExample: Sendable, Hashable {
    /// What stands before the answer.
    public let context: String
    /// The answers.
    public let choices: [String]
    /// The place of the right one.
    public let answer: Int
    /// The file and line that it was read from, for error messages.
    public let place: String

    /// Takes a question from a record.
    ///
    /// - Parameters:
    ///   - record: An object with `question` (or `prompt`, `context`), `choices`, a list of texts, and `answer`: the
    ///     place of the right one counted from 0, its letter from A, or its text.
    ///   - place: The file and line, for error messages.
    /// - Throws: ``MoruError/Code/evaluationData``, naming the field.
    public init(_ record: JSON, place: String) throws(MoruError) {
        func wrong(_ message: String, _ remedy: String) -> MoruError {
            MoruError(.evaluationData, "\(place): \(message)", remedy: remedy)
        }
        guard let context = ["question", "prompt", "context"].lazy.compactMap({ record[$0]?.string }).first else {
            throw wrong("there is no question", "put the text before the answer into \"question\"")
        }
        let choices = record["choices"]?.array?.compactMap(\.string) ?? []
        guard choices.count == record["choices"]?.array?.count, choices.count > 1, choices.allSatisfy({ !$0.isEmpty })
        else {
            throw wrong("\"choices\" is not a list of two or more texts", "list every answer as a text")
        }
        guard let given = record["answer"], let answer = Self.place(of: given, in: choices) else {
            throw wrong(
                "\"answer\" names none of the \(choices.count) choices",
                "give the right one's place counted from 0, its letter, or its text")
        }
        (self.context, self.choices, self.answer, self.place) = (context, choices, answer, place)
    }

    private static func place(of answer: JSON, in choices: [String]) -> Int? {
        if let place = answer.int { return choices.indices.contains(place) ? place : nil }
        guard let text = answer.string else { return nil }
        if let place = choices.firstIndex(of: text) { return place }
        guard let letter = text.unicodeScalars.first, text.unicodeScalars.count == 1, letter.isASCII else { return nil }
        let place = Int(letter.value) - Int(Unicode.Scalar("A").value)
        return choices.indices.contains(place) ? place : nil
    }

    /// Whether a record asks a question of this kind.
    public static func describes(_ record: JSON) -> Bool { record["choices"] != nil }

    /// Reads a JSONL file of questions.
    ///
    /// - Parameter limit: How many to read at most.
    /// - Throws: ``MoruError/Code/dataMalformed`` or ``MoruError/Code/evaluationData``, naming file and line;
    ///   ``MoruError/Code/dataEmpty`` when the file holds none.
    public static func read(_ path: String, limit: Int? = nil) throws(MoruError) -> [MultipleChoiceExample] {
        var reader = try JSONLReader(path: path)
        var examples: [MultipleChoiceExample] = []
        while examples.count < limit ?? Int.max, let record = try reader.next() {
            examples.append(try MultipleChoiceExample(record.value, place: record.place.description))
        }
        guard !examples.isEmpty else {
            throw MoruError(.dataEmpty, "\(path) holds no questions", remedy: "put one JSON object on each line")
        }
        return examples
    }
}
