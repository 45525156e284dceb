import MoruBase
import MoruText

/// Something to learn from, in one of the three shapes that tuning data comes in.
public enum TrainingExample: Sendable, Hashable {
    /// A conversation, of which the assistant's turns are learnt; `{"messages": [...]}`, with `tools` if it has any.
    case messages([ChatMessage], tools: [JSON]?)
    /// A text and how it goes on, of which the continuation is learnt; `{"prompt": ..., "completion": ...}`.
    case completion(prompt: String, completion: String)
    /// A text, all of which is learnt; `{"text": ...}`.
    case text(String)

    /// Reads an example from a line of a data file. Keys that the shape does not use are ignored.
    ///
    /// - Parameters:
    ///   - json: The line's object.
    ///   - format: The shape to expect. With `auto`, `messages` wins over `prompt` and `completion`, and those over
    ///     `text`.
    ///   - place: The file and line, for error messages.
    /// - Throws: ``MoruError/Code/dataMalformed``.
    public init(json: JSON, format: DataSettings.Format = .auto, place: String) throws(MoruError) {
        let keys = json.object?.keys ?? []
        func has(_ names: String...) -> Bool { names.allSatisfy(keys.contains) }
        switch format {
        case .auto where has("messages"), .messages where has("messages"):
            self = try Self.conversation(json, place: place)
        case .auto where has("prompt", "completion"), .completion where has("prompt", "completion"):
            self = .completion(
                prompt: try Self.text(json, "prompt", allowsEmpty: true, place: place),
                completion: try Self.text(json, "completion", place: place))
        case .auto where has("text"), .text where has("text"):
            self = .text(try Self.text(json, "text", place: place))
        default:
            let present = keys.isEmpty ? "no keys" : "the keys " + keys.prefix(8).joined(separator: ", ")
            let shapes = ["messages": "messages", "completion": "prompt and completion", "text": "text"]
            let wanted = shapes[format.rawValue] ?? "messages, or prompt and completion, or text"
            throw MoruError(
                .dataMalformed, "\(place): the example has \(present)", remedy: "an example needs \(wanted)")
        }
    }

    private static func conversation(_ json: JSON, place: String) throws(MoruError) -> TrainingExample {
        guard let list = json["messages"]?.array, !list.isEmpty else {
            throw MoruError(
                .dataMalformed, "\(place): messages is \(json["messages"]?.array == nil ? "no list" : "empty")",
                remedy: "it must be a list of {\"role\": ..., \"content\": ...} objects")
        }
        var messages: [ChatMessage] = []
        for (position, item) in list.enumerated() {
            do {
                messages.append(try ChatMessage(json: item))
            } catch {
                throw MoruError(
                    .dataMalformed, "\(place): messages[\(position)]: \(error.message)", remedy: error.remedy)
            }
        }
        guard messages.contains(where: { $0.role == "assistant" }) else {
            throw MoruError(
                .dataMalformed, "\(place): no message is the assistant's, so there is nothing to learn",
                remedy: "end the conversation with the answer that the model should give")
        }
        var tools: [JSON]?
        if let value = json["tools"] {
            guard let list = value.array else {
                throw MoruError(.dataMalformed, "\(place): tools is \(value.kindName)", remedy: "it must be a list")
            }
            tools = list
        }
        return .messages(messages, tools: tools)
    }

    private static func text(
        _ json: JSON, _ key: String, allowsEmpty: Bool = false, place: String
    ) throws(MoruError) -> String {
        guard let value = json.object?[key]?.string else {
            throw MoruError(
                .dataMalformed, "\(place): \(key) is \(json.object?[key]?.kindName ?? "missing")",
                remedy: "it must be a string")
        }
        guard allowsEmpty || !value.isEmpty else {
            throw MoruError(
                .dataMalformed, "\(place): \(key) is empty, so there is nothing to learn", remedy: "remove the line")
        }
        return value
    }
}
