import MoruBase

/// How a family of models writes calls of functions in its answers.
public enum ToolCallFormat: Sendable, Hashable, CaseIterable {
    /// `<tool_call>{"name": ..., "arguments": ...}</tool_call>`, one for each call: Hermes, Qwen 2.5 and 3, SmolLM,
    /// Granite from 3.1 on; or with the call in tags of its own: Qwen3-Coder, GLM-4.5.
    case tagged
    /// `[TOOL_CALLS][{"name": ..., "arguments": ...}]`: Mistral.
    case mistral
    /// `[TOOL_CALLS]name[ARGS]{...}`, one for each call: Mistral since the summer of 2025 (tokenizers v11 and v13).
    case mistralNamed
    /// `<|tool_call|>[{"name": ..., "arguments": ...}]`: Granite 3, Phi-4.
    case listed
    /// `<function=name>{...}</function>`, one for each call: Functionary 3.1, Llama 3.1's own functions.
    case functionTags
    /// `>>>name` and `{...}` on the next line, where `>>>all` begins text: Functionary 3.2, whose prompts end in `>>>`.
    case recipients
    /// `name<｜tool▁sep｜>{...}` between marks: DeepSeek V3.1.
    case deepSeek
    /// `function<｜tool▁sep｜>name` and fenced JSON between marks: DeepSeek V3 and R1, and what was distilled from it.
    case deepSeekFenced
    /// `[name(key="value"), ...]` and nothing else: Llama 3.2 and 4, Gemma 3 with such a template.
    case pythonic
    /// Nothing but `{"name": ..., "parameters": ...}`, after `<|python_tag|>` or not, with `;` between several: Llama 3.
    case bare

    /// What templates of each format have in them and those before it have not; the first that fits counts.
    private static let signs: [(format: ToolCallFormat, signs: [String])] = [
        (.deepSeekFenced, ["<｜tool▁calls▁begin｜>", "```json"]), (.deepSeek, ["<｜tool▁calls▁begin｜>"]),
        (.tagged, ["<tool_call>"]), (.mistralNamed, ["[TOOL_CALLS]", "[ARGS]"]), (.mistral, ["[TOOL_CALLS]"]),
        (.listed, ["<|tool_call|>"]), (.recipients, [">>>all"]), (.functionTags, ["<function="]),
        (.pythonic, ["func_name1("]), (.bare, ["<|python_tag|>"]), (.bare, ["\"parameters\":"]),
    ]

    /// The format that a chat template asks a model for; tagged where it does not say.
    public init(template: String?) {
        let template = template ?? ""
        self = Self.signs.first { $0.signs.allSatisfy { template.contains($0) } }?.format ?? .tagged
    }

    /// Whether templates of the family take ids of nine letters and digits alone.
    public var wantsShortIDs: Bool { self == .mistral || self == .mistralNamed }

    /// What begins calls, and what ends them; nil for the end of the answer.
    var marks: (begin: String, end: String?) {
        switch self {
        case .tagged: ("<tool_call>", "</tool_call>")
        case .mistral, .mistralNamed: ("[TOOL_CALLS]", nil)
        case .listed: ("<|tool_call|>", "<|/tool_call|>")
        case .functionTags: ("<function=", "</function>")
        case .recipients: (">>>", ">>>")
        case .deepSeek, .deepSeekFenced: ("<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>")
        case .pythonic: ("<|python_start|>", "<|python_end|>")
        case .bare: ("<|python_tag|>", nil)
        }
    }

    /// What an answer begins with that is calls as a whole, without marks.
    var opening: Character? {
        switch self {
        case .bare: "{"
        case .pythonic: "["
        default: nil
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
    /// Arguments are JSON, so that they keep to their schema; where a family writes them otherwise, they are read in
    /// either way.
    ///
    /// - Parameter functions: Names, and the schemas of their arguments.
    /// - Throws: What the schemas throw; see ``Grammar/init(jsonSchema:)``.
    public func grammar(calling functions: [(name: String, parameters: JSON)]) throws(MoruError) -> Grammar {
        var calls: [Grammar] = []
        for function in functions {
            let (before, after) = frame(of: function.name)
            calls.append(
                .sequence([.choice([before]), try Grammar(jsonSchema: function.parameters), .choice([after])]))
        }
        return .alternatives(calls)
    }

    /// What stands before and after the arguments of a function's only call.
    private func frame(of name: String) -> (before: String, after: String) {
        func object(_ key: String) -> String { "{\"name\": \(JSON.string(name).text()), \"\(key)\": " }
        return switch self {
        case .tagged: ("<tool_call>\n" + object("arguments"), "}\n</tool_call>")
        case .mistral: ("[TOOL_CALLS][" + object("arguments"), "}]")
        case .mistralNamed: ("[TOOL_CALLS]\(name)[ARGS]", "")
        case .listed: ("<|tool_call|>[" + object("arguments"), "}]")
        case .functionTags: ("<function=\(name)>", "</function>")
        case .recipients: ("\(name)\n", "")
        case .deepSeek:
            (
                "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>\(name)<｜tool▁sep｜>",
                "<｜tool▁call▁end｜><｜tool▁calls▁end｜>"
            )
        case .deepSeekFenced:
            (
                "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>\(name)\n```json\n",
                "\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>"
            )
        case .pythonic: ("[" + object("parameters"), "}]")
        case .bare: (object("parameters"), "}")
        }
    }
}
