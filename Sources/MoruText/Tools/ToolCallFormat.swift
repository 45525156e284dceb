import MoruBase

/// A function that a model asks to be called.
public struct ToolCall: Sendable, Hashable {
    /// The function's name.
    public var name: String
    /// Its arguments, an object.
    public var arguments: JSON
    /// What its result will refer to it by; nil while it has no such name.
    public var id: String?

    /// Makes a call.
    public init(name: String, arguments: JSON, id: String? = nil) {
        self.name = name
        self.arguments = arguments
        self.id = id
    }

    /// Reads a call as models write it: the name with `arguments` or `parameters`, also inside `function`.
    init?(_ json: JSON) {
        let call = json["function"]?.object == nil ? json : json["function"] ?? json
        guard let name = call["name"]?.string ?? json["function"]?.string, !name.isEmpty else { return nil }
        var arguments = call["arguments"] ?? call["parameters"] ?? [:]
        // Some models write the arguments as OpenAI's API does, as text
        if let text = arguments.string {
            guard let parsed = try? JSON.parse(text, source: "arguments") else { return nil }
            arguments = parsed
        }
        guard arguments.object != nil else { return nil }
        self.init(name: name, arguments: arguments)
    }
}

/// How a family of models writes calls of functions in its answers.
public enum ToolCallFormat: Sendable, Hashable, CaseIterable {
    /// `<tool_call>{"name": ..., "arguments": ...}</tool_call>`, one for each call: Hermes, Qwen 2.5 and 3, SmolLM.
    case tagged
    /// `[TOOL_CALLS][{"name": ..., "arguments": ...}]`: Mistral.
    case mistral
    /// `<|tool_call|>[{"name": ..., "arguments": ...}]`: Granite 3, Phi-4.
    case listed
    /// Nothing but `{"name": ..., "parameters": ...}`, after `<|python_tag|>` or not, with `;` between several: Llama 3.
    case bare

    /// The format that a chat template asks a model for; tagged where it does not say.
    public init(template: String?) {
        let template = template ?? ""
        self =
            if template.contains("<tool_call>") {
                .tagged
            } else if template.contains("[TOOL_CALLS]") {
                .mistral
            } else if template.contains("<|tool_call|>") {
                .listed
            } else if template.contains("<|python_tag|>") || template.contains("\"parameters\":") {
                .bare
            } else {
                .tagged
            }
    }

    /// Whether templates of the family take ids of nine letters and digits alone.
    public var wantsShortIDs: Bool { self == .mistral }

    /// What begins calls, and what ends them; nil for the end of the answer.
    var marks: (begin: String, end: String?) {
        switch self {
        case .tagged: ("<tool_call>", "</tool_call>")
        case .mistral: ("[TOOL_CALLS]", nil)
        case .listed: ("<|tool_call|>", "<|/tool_call|>")
        case .bare: ("<|python_tag|>", nil)
        }
    }

    /// The calls of a text without its marks; nil when it is none.
    func calls(in text: String) -> [ToolCall]? {
        var calls: [ToolCall] = []
        for part in self == .bare ? Self.statements(of: text) : [text[...]] {
            guard let json = try? JSON.parse(String(part), source: "tool call") else { return nil }
            for element in json.array ?? [json] {
                guard let call = ToolCall(element) else { return nil }
                calls.append(call)
            }
        }
        return calls.isEmpty ? nil : calls
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

    /// What a system message says to a model whose template does not know of tools.
    public static func instructions(tools: [JSON]) -> String {
        """
        You may call functions to help with the request. They are described here, one JSON object a line:
        <tools>
        \(tools.map { $0.text() }.joined(separator: "\n"))
        </tools>
        To call one, answer with its name and arguments as JSON inside <tool_call></tool_call>:
        <tool_call>
        {"name": "<name>", "arguments": {<arguments>}}
        </tool_call>
        """
    }

    /// A grammar of one call of one of some functions, and nothing else.
    ///
    /// - Parameter functions: Names, and the schemas of their arguments.
    /// - Throws: What the schemas throw; see ``Grammar/init(jsonSchema:)``.
    public func grammar(calling functions: [(name: String, parameters: JSON)]) throws(MoruError) -> Grammar {
        let key = self == .bare ? "parameters" : "arguments"
        var calls: [Grammar] = []
        for function in functions {
            let head = "{\"name\": \(JSON.string(function.name).text()), \"\(key)\": "
            calls.append(.sequence([.choice([head]), try Grammar(jsonSchema: function.parameters), .choice(["}"])]))
        }
        let call = Grammar.alternatives(calls)
        return switch self {
        case .tagged: .sequence([.choice(["<tool_call>\n"]), call, .choice(["\n</tool_call>"])])
        case .mistral: .sequence([.choice(["[TOOL_CALLS]["]), call, .choice(["]"])])
        case .listed: .sequence([.choice(["<|tool_call|>["]), call, .choice(["]"])])
        case .bare: call
        }
    }
}
