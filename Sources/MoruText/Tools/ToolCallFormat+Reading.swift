import MoruBase

extension ToolCallFormat {
    /// The calls of a text without its marks; nil when it is none.
    ///
    /// - Parameter parameters: The schemas of the functions' arguments, which tell text from numbers where a family writes
    ///   both alike.
    func calls(in text: String, _ parameters: [String: JSON] = [:]) -> [ToolCall]? {
        let parts: [ToolCall?]
        switch self {
        case .tagged: return Self.listed(text) ?? Self.taggedCall(text, parameters).map { [$0] }
        case .listed: return Self.listed(text)
        case .mistral, .mistralNamed:
            if let calls = Self.listed(text) { return calls }
            parts = Self.split(text, by: "[TOOL_CALLS]").map(Self.namedCall)
        case .functionTags:
            parts = [text.parted(by: ">").flatMap { ToolCall(name: $0.before, text: $0.after) }]
        case .recipients: parts = [text.parted(by: "\n").flatMap { ToolCall(name: $0.before, text: $0.after) }]
        case .deepSeek, .deepSeekFenced:
            parts = Self.split(text, by: "<｜tool▁call▁begin｜>").filter { !$0.trimmed.isEmpty }.map(Self.deepSeekCall)
        case .pythonic: return Self.listed(text) ?? PythonCalls.calls(in: text)
        case .bare:
            let statements = Self.statements(of: text).map { Self.listed(String($0)) }
            parts = statements.flatMap { calls -> [ToolCall?] in calls.map { $0.map(Optional.some) } ?? [nil] }
        }
        let calls = parts.compactMap { $0 }
        return calls.isEmpty || calls.count < parts.count ? nil : calls
    }

    /// A call in JSON, or a list of them.
    private static func listed(_ text: String) -> [ToolCall]? {
        guard let json = try? JSON.parse(text, source: "tool call") else { return nil }
        let elements = json.array ?? [json]
        let calls = elements.compactMap(ToolCall.init)
        return calls.isEmpty || calls.count < elements.count ? nil : calls
    }

    /// `name[ARGS]{...}`, with `[CALL_ID]` and an id between or not.
    private static func namedCall(_ text: Substring) -> ToolCall? {
        guard let begin = text.firstIndex(of: "{") else { return nil }
        let head = text[..<begin]
        let name = head.parted(by: "[CALL_ID]")?.before ?? head.parted(by: "[ARGS]")?.before ?? head
        return ToolCall(name: name, text: text[begin...])
    }

    /// `name<｜tool▁sep｜>{...}`, or `function<｜tool▁sep｜>name` with fenced JSON.
    private static func deepSeekCall(_ text: Substring) -> ToolCall? {
        let body = text.parted(by: "<｜tool▁call▁end｜>")?.before ?? text
        guard let (head, tail) = body.parted(by: "<｜tool▁sep｜>") else { return nil }
        guard let (name, fenced) = tail.parted(by: "```json") else { return ToolCall(name: head, text: tail) }
        return ToolCall(name: name, text: fenced.parted(by: "```")?.before ?? fenced)
    }

    /// `<function=name><parameter=key>value</parameter></function>` (Qwen3-Coder), or
    /// `name<arg_key>key</arg_key><arg_value>value</arg_value>` (GLM-4.5).
    private static func taggedCall(_ text: String, _ parameters: [String: JSON]) -> ToolCall? {
        let name: Substring
        var values: [(key: Substring, value: Substring)] = []
        if let (_, call) = text.parted(by: "<function="), let (head, body) = call.parted(by: ">") {
            name = head.trimmed
            for part in split(String(body), by: "<parameter=").dropFirst() {
                guard let (key, value) = part.parted(by: ">") else { return nil }
                values.append((key.trimmed, value.parted(by: "</parameter>")?.before ?? value))
            }
        } else {
            let parts = split(text, by: "<arg_key>")
            name = parts[0].trimmed
            for part in parts.dropFirst() {
                guard let (key, rest) = part.parted(by: "</arg_key>"), let (_, value) = rest.parted(by: "<arg_value>")
                else { return nil }
                values.append((key.trimmed, value.parted(by: "</arg_value>")?.before ?? value))
            }
            // Without a schema or a value, any text would be a name
            guard !values.isEmpty || parameters[String(name)] != nil else { return nil }
        }
        guard !name.isEmpty, !name.contains(where: \.isWhitespace) else { return nil }
        var arguments = JSONObject()
        for (key, value) in values {
            arguments[String(key)] = typed(value, parameters[String(name)]?["properties"]?[String(key)])
        }
        return ToolCall(name: String(name), arguments: .object(arguments))
    }

    /// A value that stands as text, as its schema says what it is: text where it does not say.
    private static func typed(_ text: Substring, _ schema: JSON?) -> JSON {
        // One line break on either side belongs to the tags
        var text = text
        if text.first == "\n" { text.removeFirst() }
        if text.last == "\n" { text.removeLast() }
        let types = schema?["type"]?.string.map { [$0] } ?? (schema?["type"]?.array ?? []).compactMap(\.string)
        if types.isEmpty || types.contains("string") { return .string(String(text)) }
        let spelling = ["True": "true", "False": "false", "None": "null"][String(text.trimmed)] ?? String(text)
        return (try? JSON.parse(spelling, source: "argument")) ?? .string(String(text))
    }

    /// The parts of a text between marks, the first before any.
    private static func split(_ text: String, by mark: String) -> [Substring] {
        var (parts, rest): ([Substring], Substring) = ([], text[...])
        while let (before, after) = rest.parted(by: mark) {
            parts.append(before)
            rest = after
        }
        return parts + [rest]
    }

    /// The parts of a text between semicolons that are in no string.
    private static func statements(of text: String) -> [Substring] {
        var (isInString, isEscaped) = (false, false)
        return text.split { character in
            if character == "\"", !isEscaped { isInString.toggle() }
            isEscaped = character == "\\" && !isEscaped
            return character == ";" && !isInString
        }
    }
}
