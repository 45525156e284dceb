import Foundation
import MoruBase

/// A chat template: a Jinja text that turns a conversation into the text that a model was trained on.
///
/// Templates see what transformers' `apply_chat_template` gives them, and print the same: blocks are trimmed, lists
/// and dictionaries cannot be changed, `tojson` is Python's `json.dumps`, and `raise_exception`, `strftime_now` and
/// `{% generation %}` are known. A template cannot reach anything but its variables, and what it may use of time and
/// memory is bounded, so templates from strangers are safe to render.
public struct ChatTemplate: Sendable {
    /// The template's text.
    public let source: String
    /// What messages call the template.
    public let name: String
    private let syntax: JinjaSyntax

    /// Parses a template.
    ///
    /// - Parameters:
    ///   - source: The Jinja text.
    ///   - name: What messages call the template, such as the file it comes from.
    /// - Throws: ``MoruError/Code/templateSyntax`` with the line and what was expected.
    public init(_ source: String, name: String = "chat_template") throws(MoruError) {
        self.source = source
        self.name = name
        do throws(JinjaError) {
            syntax = try JinjaParser.parse(source)
        } catch {
            throw error.error(in: name, line: 1)
        }
    }

    /// Whether the template marks the assistant's text with `{% generation %}` blocks.
    public var hasGenerationBlocks: Bool { syntax.hasGeneration }

    /// Renders a conversation.
    ///
    /// - Parameters:
    ///   - messages: The conversation.
    ///   - addGenerationPrompt: Whether to end with what opens the assistant's next turn.
    ///   - tools: Descriptions of the tools that the model may call.
    ///   - extra: More variables, such as `bos_token`, `eos_token`, `enable_thinking` or `documents`.
    ///   - now: The time that `strftime_now` tells, in the local time zone.
    /// - Throws: ``MoruError/Code/templateRender``, ``MoruError/Code/templateRaised`` or
    ///   ``MoruError/Code/templateLimit``.
    public func render(
        messages: [ChatMessage], addGenerationPrompt: Bool, tools: [JSON]? = nil, extra: JSONObject = JSONObject(),
        now: Date = Date()
    ) throws(MoruError) -> String {
        try run(
            Self.variables(messages, addGenerationPrompt: addGenerationPrompt, tools: tools, extra: extra), now: now
        ).text
    }

    /// Renders the template with any variables.
    ///
    /// - Throws: As ``render(messages:addGenerationPrompt:tools:extra:now:)``.
    public func render(_ variables: JSONObject, now: Date = Date()) throws(MoruError) -> String {
        try run(variables, now: now).text
    }

    /// What a rendering yields besides its text.
    struct Rendering {
        let text: String
        let generationRanges: [Range<Int>]
        /// Whether some generation block has no place in the output, since it was rendered inside a captured text.
        let hasLostGeneration: Bool
    }

    func run(_ variables: JSONObject, now: Date) throws(MoruError) -> Rendering {
        var line = 1
        do throws(JinjaError) {
            var values: [(name: String, value: JinjaValue)] = []
            for (name, value) in variables.members { values.append((name, try JinjaValue(value))) }
            let interpreter = JinjaInterpreter(syntax, variables: values, now: now)
            defer { line = interpreter.line }
            let text = try interpreter.run()
            return Rendering(
                text: text, generationRanges: interpreter.generationRanges,
                hasLostGeneration: interpreter.hasLostGeneration)
        } catch {
            throw error.error(in: name, line: line)
        }
    }

    static func variables(
        _ messages: [ChatMessage], addGenerationPrompt: Bool, tools: [JSON]?, extra: JSONObject
    ) -> JSONObject {
        var variables = JSONObject([
            ("messages", .array(messages.map { withReasoning($0.json) })),
            ("tools", tools.map { .array($0) } ?? .null),
            ("documents", .null),
            ("add_generation_prompt", .bool(addGenerationPrompt)),
        ])
        for (name, value) in extra.members { variables[name] = value }
        return variables
    }

    /// A message with its reasoning under the two names that templates read it by.
    private static func withReasoning(_ message: JSON) -> JSON {
        guard case .object(let object) = message,
            let reasoning = message["reasoning_content"] ?? message["thinking"] ?? message["reasoning"]
        else { return message }
        var result = JSONObject([("thinking", reasoning)])
        for (key, value) in object.members { result[key] = value }
        result["reasoning_content"] = reasoning
        return .object(result)
    }
}

extension ChatTemplate {
    /// The ChatML template, for models that have none of their own.
    public static let chatML: ChatTemplate = {
        let source = """
            {%- for message in messages %}
            {{- '<|im_start|>' ~ message.role ~ '\\n' ~ message.content ~ '<|im_end|>\\n' }}
            {%- endfor %}
            {%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{% endif %}
            """
        do throws(MoruError) {
            return try ChatTemplate(source, name: "chatml")
        } catch {
            preconditionFailure("the ChatML template must parse: \(error)")
        }
    }()
}
