import Foundation
import MoruBase
import Testing

@testable import MoruText

@Suite struct ChatTemplateTests {
    static let turns = [
        ChatMessage(role: "system", content: "Be brief."),
        ChatMessage(role: "user", content: "안녕 👋"),
        ChatMessage(role: "assistant", content: "Hallo 👋"),
        ChatMessage(role: "user", content: "And?"),
        ChatMessage(role: "assistant", content: "No more."),
    ]

    private func error(_ body: () throws -> Void) -> MoruError? {
        do {
            try body()
            return nil
        } catch {
            return error as? MoruError
        }
    }

    @Test func chatML() throws {
        let messages = [ChatMessage(role: "user", content: "Hi")]
        let text = try ChatTemplate.chatML.render(messages: messages, addGenerationPrompt: true)
        #expect(text == "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n")
        #expect(
            try ChatTemplate.chatML.render(messages: messages, addGenerationPrompt: false)
                == "<|im_start|>user\nHi<|im_end|>\n")
    }

    @Test func assistantRangesFromGrowingPrefixes() throws {
        let (text, ranges) = try ChatTemplate.chatML.renderConversation(messages: Self.turns)
        let bytes = Array(text.utf8)
        let parts = ranges.map { String(decoding: bytes[$0], as: UTF8.self) }
        #expect(parts == ["Hallo 👋<|im_end|>\n", "No more.<|im_end|>\n"])
        #expect(text == (try ChatTemplate.chatML.render(messages: Self.turns, addGenerationPrompt: false)))
    }

    @Test func assistantRangesFromGenerationBlocks() throws {
        let template = try ChatTemplate(
            "{% for m in messages %}<{{ m.role }}>{% if m.role == 'assistant' %}{% generation %}{{ m.content }}$"
                + "{% endgeneration %}{% else %}{{ m.content }}{% endif %}{% endfor %}")
        #expect(template.hasGenerationBlocks)
        let (text, ranges) = try template.renderConversation(messages: Self.turns)
        let bytes = Array(text.utf8)
        #expect(ranges.map { String(decoding: bytes[$0], as: UTF8.self) } == ["Hallo 👋$", "No more.$"])
    }

    /// A block inside a captured text has no place of its own in the output, so prefixes tell the ranges instead.
    @Test func generationBlockInsideMacro() throws {
        let template = try ChatTemplate(
            "{% macro say(m) %}{% generation %}{{ m.content }}{% endgeneration %}{% endmacro %}"
                + "{% for m in messages %}[{{ m.role }}]{{ say(m) }}{% endfor %}"
                + "{{ '[assistant]' if add_generation_prompt }}")
        let (text, ranges) = try template.renderConversation(messages: Self.turns)
        let bytes = Array(text.utf8)
        #expect(ranges.map { String(decoding: bytes[$0], as: UTF8.self) } == ["Hallo 👋", "No more."])
    }

    @Test func rewrittenTurnsAreRefused() throws {
        // Only the last message is printed whole, as where earlier reasoning is left out.
        let template = try ChatTemplate(
            "{% for m in messages %}{{ m.role }}:{{ m.content if loop.last else m.content[:3] }};{% endfor %}")
        let found = error { _ = try template.renderConversation(messages: Self.turns) }
        #expect(found?.code == .templateNotIncremental)
        #expect(found?.message.contains("message 3 of 5") == true)
        #expect(found?.remedy?.contains("generation") == true)
    }

    @Test(arguments: [
        ("a\n{% if x %}\nb", 3, "expected {% elif %} or {% else %} or {% endif %} for 'if' of line 2"),
        ("\n{{ 1 + }}", 2, "expected an expression"),
        ("{% for x of xs %}{% endfor %}", 1, "expected 'in'"),
        ("{% include 'x' %}", 1, "'include' is not supported"),
        ("a\n\n{{ 'x }}", 3, "no closing '"),
        ("{% foo %}", 1, "unknown tag 'foo'"),
        ("{{ (1] }}", 1, "unexpected ']', expected ')'"),
        ("{# a\nb", 1, "expected '#}'"),
        ("{% set x 1 %}", 1, "expected '%}'"),
        ("{% macro m(a=1, b) %}{% endmacro %}", 1, "without default"),
    ])
    func syntaxErrorsSayWhere(source: String, line: Int, expected: String) {
        let found = error { _ = try ChatTemplate(source, name: "model/chat_template.jinja") }
        #expect(found?.code == .templateSyntax)
        #expect(
            found?.message.hasPrefix("model/chat_template.jinja, line \(line): ") == true, "\(found?.message ?? "")")
        #expect(found?.message.contains(expected) == true, "\(found?.message ?? "")")
    }

    @Test func renderErrorsSayWhere() throws {
        let template = try ChatTemplate("a\n{% for m in messages %}\n{{ m.a.b }}\n{% endfor %}", name: "t")
        let found = error { _ = try template.render(messages: Self.turns, addGenerationPrompt: false) }
        #expect(found?.code == .templateRender)
        #expect(found?.message == "t, line 3: 'dict object' has no attribute 'a'")
        let unknown = error { _ = try ChatTemplate("{{ 'a'|uper }}").render(JSONObject()) }
        #expect(unknown?.remedy == "did you mean 'upper'?")
    }

    @Test func raisedMessageIsPassedThrough() throws {
        let template = try ChatTemplate("{{ raise_exception('Roles must alternate!') }}")
        let found = error { _ = try template.render(messages: [], addGenerationPrompt: false) }
        #expect(found?.code == .templateRaised)
        #expect(found?.message == "Roles must alternate!")
    }

    @Test func messagesKeepTheirShape() throws {
        let json: JSON = [
            "role": "assistant", "content": nil, "tool_calls": [["id": "x"]], "name": "n",
        ]
        let message = try ChatMessage(json: json)
        #expect(message.content == "")
        #expect(message.extra["tool_calls"] != nil)
        #expect(message.json == json)
        var parts = try ChatMessage(json: ["role": "user", "content": [["type": "text", "text": "a"], "b"]])
        #expect(parts.content == "ab")
        #expect(parts.json["content"]?.array?.count == 2)
        parts.content = "c"
        #expect(parts.json == ["role": "user", "content": "c"])
        #expect(try ChatMessage(json: ["role": "tool"]).json == ["role": "tool"])
        for bad: JSON in ["x", ["content": "x"], ["role": 1, "content": "x"], ["role": "user", "content": 5]] {
            #expect(error { _ = try ChatMessage(json: bad) }?.code == .messageMalformed)
        }
    }

    /// Text that is equal to Swift when differently composed is not to Python.
    @Test func textIsComparedByCodePoints() throws {
        let template = try ChatTemplate(
            "{{ a == b }}{{ a in [b] }}{{ {a: 1}[b] is defined }}{{ a|length }}{{ b|length }}{{ [a, b]|unique|list|length }}"
        )
        let variables = JSONObject([("a", .string("\u{E9}")), ("b", .string("e\u{301}"))])
        #expect(try template.render(variables) == "FalseFalseFalse122")
    }
}
