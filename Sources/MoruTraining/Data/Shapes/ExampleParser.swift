import MoruBase
import MoruText

/// Tells the shape of records and reads them as examples.
struct ExampleParser: Sendable {
    /// What fields are called, by their usual names.
    var fields: [String: String] = [:]
    /// How a text with a label is put to a model.
    var classification = ClassificationPrompt()
    /// Whose messages are learnt; a conversation without any is refused.
    var learned = LearnedRoles.assistant

    /// The shape of a record, told from its fields.
    ///
    /// - Throws: ``MoruError/Code/dataMalformed`` when it has none, ``MoruError/Code/dataAmbiguous`` when it has several.
    func shape(of json: JSON, place: String) throws(MoruError) -> ExampleShape {
        let keys = Set(json.object?.keys ?? [])
        func has(_ names: String...) -> Bool { names.allSatisfy { keys.contains(fields[$0] ?? $0) } }
        var shapes: [ExampleShape] = []
        if has("messages") || has("conversations") { shapes.append(.chat) }
        if has("chosen", "rejected") { shapes.append(.preference) }
        if has("prompt", "completion") { shapes.append(.completion) }
        if has("instruction", "output") { shapes.append(.instruction) }
        if has("text") { shapes.append(has("label") ? .classification : .text) }
        if shapes.count == 1 { return shapes[0] }
        guard shapes.isEmpty else {
            let names = shapes.map(\.rawValue)
            throw MoruError(
                .dataAmbiguous,
                "\(place): the record can be read as \(names.dropLast().joined(separator: ", ")) or as \(names.last ?? "")",
                remedy: "say which shape the data has")
        }
        throw missing(
            json,
            "an example needs messages, or prompt and completion, or instruction and output, or text and label, or "
                + "chosen and rejected, or text", place)
    }

    /// Reads a record.
    ///
    /// - Throws: ``MoruError/Code/dataMalformed``.
    func parse(_ json: JSON, as shape: ExampleShape, place: String) throws(MoruError) -> DataExample {
        switch shape {
        case .chat: return .single(try conversation(json, place))
        case .completion: return .single(try completion(json, place))
        case .instruction: return .single(try instruction(json, place))
        case .classification: return .single(try labelled(json, place))
        case .preference: return .pair(try preference(json, place))
        case .text:
            try require(json, ["text"], place)
            return .single(.text(try text(json, "text", place)))
        }
    }

    // MARK: Shapes

    private func conversation(_ json: JSON, _ place: String) throws(MoruError) -> TrainingExample {
        guard let name = ["messages", "conversations"].first(where: { value(json, $0) != nil }) else {
            throw missing(json, "an example needs messages", place)
        }
        var messages = try self.messages(value(json, name) ?? .null, field(name), place)
        if name == "conversations", let system = value(json, "system")?.string, !system.isEmpty,
            messages.first?.role != "system"
        {
            messages.insert(ChatMessage(role: "system", content: system), at: 0)
        }
        guard messages.contains(where: { learned.contains($0.role) && !Self.isExcluded($0) }) else {
            let roles = learned.roles?.sorted().joined(separator: "'s or ") ?? "anyone"
            throw MoruError(
                .dataMalformed, "\(place): no message is the \(roles)'s, so there is nothing to learn",
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

    private func completion(_ json: JSON, _ place: String) throws(MoruError) -> TrainingExample {
        try require(json, ["prompt", "completion"], place)
        if value(json, "prompt")?.array != nil || value(json, "completion")?.array != nil {
            let prompt = try prompt(json, place)
            return .messages(prompt + (try answer(json, "completion", place)), tools: nil)
        }
        return .completion(
            prompt: try text(json, "prompt", allowsEmpty: true, place), completion: try text(json, "completion", place))
    }

    /// Instructions as the Alpaca data has them.
    private func instruction(_ json: JSON, _ place: String) throws(MoruError) -> TrainingExample {
        try require(json, ["instruction", "output"], place)
        var question = try text(json, "instruction", place)
        if present(json, "input") {
            let input = try text(json, "input", allowsEmpty: true, place)
            if !input.isEmpty { question += "\n\n" + input }
        }
        var messages = [
            ChatMessage(role: "user", content: question),
            ChatMessage(role: "assistant", content: try text(json, "output", place)),
        ]
        if present(json, "system") {
            let system = try text(json, "system", allowsEmpty: true, place)
            if !system.isEmpty { messages.insert(ChatMessage(role: "system", content: system), at: 0) }
        }
        return .messages(messages, tools: nil)
    }

    private func labelled(_ json: JSON, _ place: String) throws(MoruError) -> TrainingExample {
        try require(json, ["text", "label"], place)
        let text = try text(json, "text", place)
        let label = try label(json, place)
        guard let template = classification.template else {
            let system = classification.instruction.map { [ChatMessage(role: "system", content: $0)] } ?? []
            return .messages(
                system + [ChatMessage(role: "user", content: text), ChatMessage(role: "assistant", content: label)],
                tools: nil)
        }
        let halves = template.split(separator: "{label}", omittingEmptySubsequences: false)
        guard halves.count == 2, halves[0].contains("{text}") else {
            throw MoruError(
                .dataMalformed, "the classification template is \"\(template)\"",
                remedy: "write {text} and after it {label} once each, as in \"{text}\\nTopic: {label}\"")
        }
        let system = classification.instruction.map { $0 + "\n" } ?? ""
        return .completion(
            prompt: system + halves[0].replacing("{text}", with: text), completion: label + halves[1])
    }

    private func label(_ json: JSON, _ place: String) throws(MoruError) -> String {
        let name = field("label")
        let label: String
        switch value(json, "label") {
        case .string(let value): label = value
        case .int(let value): label = String(value)
        case .bool(let value): label = String(value)
        case let other:
            throw MoruError(
                .dataMalformed, "\(place): \(name) is \(other?.kindName ?? "missing")",
                remedy: "it must be a string, an integer or a boolean")
        }
        guard !label.isEmpty else {
            throw MoruError(.dataMalformed, "\(place): \(name) is empty", remedy: "label the text, or remove it")
        }
        guard !classification.labels.isEmpty, !classification.labels.contains(label) else { return label }
        guard let number = Int(label), classification.labels.indices.contains(number) else {
            throw MoruError(
                .dataMalformed, "\(place): \(name) is \(label)",
                remedy: "the labels are \(classification.labels.joined(separator: ", ")), or their numbers from 0 on")
        }
        return classification.labels[number]
    }

    private func preference(_ json: JSON, _ place: String) throws(MoruError) -> PreferencePair {
        try require(json, ["chosen", "rejected"], place)
        let (chosen, rejected) = (value(json, "chosen") ?? .null, value(json, "rejected") ?? .null)
        guard chosen != rejected else {
            throw MoruError(
                .dataMalformed, "\(place): chosen and rejected are the same, so there is nothing to prefer",
                remedy: "remove the record")
        }
        if let prompt = value(json, "prompt")?.string, chosen.string != nil, rejected.string != nil {
            return PreferencePair(
                chosen: .completion(prompt: prompt, completion: try text(json, "chosen", place)),
                rejected: .completion(prompt: prompt, completion: try text(json, "rejected", place)))
        }
        var prompt = present(json, "prompt") ? try self.prompt(json, place) : []
        var (better, worse) = (try answer(json, "chosen", place), try answer(json, "rejected", place))
        // Some data repeats the prompt in both answers
        if prompt.isEmpty || better.count > prompt.count && Array(better.prefix(prompt.count)) == prompt {
            let shared = zip(better, worse).prefix { $0 == $1 }.count
            prompt = Array(better.prefix(shared))
            better.removeFirst(shared)
            worse.removeFirst(shared)
        }
        guard !prompt.isEmpty, better.last?.role == "assistant", worse.last?.role == "assistant" else {
            throw MoruError(
                .dataMalformed,
                "\(place): \(prompt.isEmpty ? "there is no prompt" : "an answer does not end with the assistant's message")",
                remedy: "give prompt, and in chosen and rejected only the answers")
        }
        let asked = prompt.map(Self.excluded)
        return PreferencePair(
            chosen: .messages(asked + better, tools: json["tools"]?.array),
            rejected: .messages(asked + worse, tools: json["tools"]?.array))
    }

    /// The prompt as messages, none of which is learnt.
    private func prompt(_ json: JSON, _ place: String) throws(MoruError) -> [ChatMessage] {
        let value = value(json, "prompt") ?? .null
        if let text = value.string { return [ChatMessage(role: "user", content: text)] }
        return try messages(value, field("prompt"), place).map(Self.excluded)
    }

    /// An answer that is a text, a message or a list of messages.
    private func answer(_ json: JSON, _ name: String, _ place: String) throws(MoruError) -> [ChatMessage] {
        switch value(json, name) ?? .null {
        case .string: return [ChatMessage(role: "assistant", content: try text(json, name, place))]
        case .object(let object): return try messages(.array([.object(object)]), field(name), place)
        case let value: return try messages(value, field(name), place)
        }
    }

    // MARK: Messages

    private func messages(_ value: JSON, _ name: String, _ place: String) throws(MoruError) -> [ChatMessage] {
        guard let list = value.array, !list.isEmpty else {
            throw MoruError(
                .dataMalformed, "\(place): \(name) is \(value.array == nil ? "not a list" : "empty")",
                remedy: "it must be a list of {\"role\": ..., \"content\": ...} objects")
        }
        var messages: [ChatMessage] = []
        for (position, item) in list.enumerated() {
            do throws(MoruError) {
                let message = try ChatMessage(json: Self.usualSpelling(item))
                switch message.extra["weight"] {
                case nil, .null?, 0, 1: messages.append(message)
                case let weight?:
                    throw MoruError(
                        .dataMalformed, "weight is \(weight.text())", remedy: "it must be 1 to learn the message, or 0")
                }
            } catch {
                throw MoruError(
                    .dataMalformed, "\(place): \(name)[\(position)]: \(error.message)", remedy: error.remedy)
            }
        }
        return messages
    }

    private static let usualRoles = [
        "human": "user", "gpt": "assistant", "chatgpt": "assistant", "bard": "assistant", "model": "assistant",
        "bot": "assistant", "observation": "tool", "function_response": "tool", "function_call": "assistant",
    ]

    /// A message spelt `{"from": ..., "value": ...}`, as ShareGPT's are, in the usual spelling.
    private static func usualSpelling(_ item: JSON) -> JSON {
        guard case .object(var object) = item, object["role"] == nil, let speaker = object["from"]?.string,
            let value = object["value"]
        else { return item }
        object["from"] = nil
        object["value"] = nil
        let members = [("role", JSON.string(usualRoles[speaker] ?? speaker)), ("content", value)]
        return .object(JSONObject(members + object.members.map { ($0.key, $0.value) }))
    }

    /// Whether a message is marked not to be learnt.
    static func isExcluded(_ message: ChatMessage) -> Bool { message.extra["weight"]?.int == 0 }

    /// A message that is not learnt.
    private static func excluded(_ message: ChatMessage) -> ChatMessage {
        guard message.role == "assistant" else { return message }
        var message = message
        message.extra["weight"] = 0
        return message
    }

    // MARK: Fields

    private func field(_ name: String) -> String { fields[name] ?? name }

    /// A field's value, also where it is null.
    private func value(_ json: JSON, _ name: String) -> JSON? { json.object?[field(name)] }

    private func present(_ json: JSON, _ name: String) -> Bool { !(value(json, name)?.isNull ?? true) }

    private func require(_ json: JSON, _ names: [String], _ place: String) throws(MoruError) {
        guard names.allSatisfy({ value(json, $0) != nil }) else {
            throw missing(json, "an example needs \(names.map(field).joined(separator: " and "))", place)
        }
    }

    private func missing(_ json: JSON, _ remedy: String, _ place: String) -> MoruError {
        let keys = json.object?.keys ?? []
        let present = keys.isEmpty ? "no fields" : "the fields " + keys.prefix(8).joined(separator: ", ")
        return MoruError(.dataMalformed, "\(place): the record has \(present)", remedy: remedy)
    }

    private func text(
        _ json: JSON, _ name: String, allowsEmpty: Bool = false, _ place: String
    ) throws(MoruError) -> String {
        guard let text = value(json, name)?.string else {
            throw MoruError(
                .dataMalformed, "\(place): \(field(name)) is \(value(json, name)?.kindName ?? "missing")",
                remedy: "it must be a string")
        }
        guard allowsEmpty || !text.isEmpty else {
            throw MoruError(
                .dataMalformed, "\(place): \(field(name)) is empty, so there is nothing to learn",
                remedy: "remove the record")
        }
        return text
    }
}
