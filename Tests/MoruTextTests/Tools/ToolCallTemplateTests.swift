import MoruBase
import Testing

@testable import MoruText

/// What a model was shown of calls in its own turns is what it writes: each family's template says how, and the format
/// that the template is taken for reads it back.
struct ToolCallTemplateTests {
    private static let calls = [
        ToolCall(name: "weather", arguments: ["city": "Rome", "days": 2]),
        ToolCall(name: "now", arguments: ["zone": "it's \"C\"", "exact": true]),
    ]
    private static let parameters: [String: JSON] = [
        "weather": ["type": "object", "properties": ["city": ["type": "string"], "days": ["type": "integer"]]],
        "now": ["type": "object", "properties": ["zone": ["type": "string"], "exact": ["type": "boolean"]]],
    ]

    /// A template of a family, in the least that it says: what begins turns, and the calls of one.
    private static func template(_ begin: String, _ calls: String, _ end: String) -> String {
        """
        {%- for message in messages %}
        {%- if message.role == "assistant" %}{{ "\(begin)" }}
        {%- if message.content %}{{ message.content }}{% endif %}
        {%- if message.tool_calls %}\(calls){% endif %}{{ "\(end)" }}
        {%- else %}{{ "[" + message.role + "]" + message.content }}{% endif %}
        {%- endfor %}
        {%- if add_generation_prompt %}{{ "\(begin)" }}{% endif %}
        """
    }

    private static func each(_ call: String, between: String = "") -> String {
        "{% for call in message.tool_calls %}{% set f = call.function %}\(call)"
            + "{% if not loop.last %}{{ \"\(between)\" }}{% endif %}{% endfor %}"
    }

    private static let object = #"{{ '{"name": "' + f.name + '", "arguments": ' + f.arguments | tojson + '}' }}"#
    private static let xml = """
        {% for key, value in f.arguments | items %}{{ '<parameter=' + key + '>\\n' }}{{ value | string }}\
        {{ '\\n</parameter>\\n' }}{% endfor %}
        """
    private static let glm = """
        {% for key, value in f.arguments | items %}{{ '<arg_key>' + key + '</arg_key>\\n<arg_value>' }}\
        {{ value if value is string else value | tojson }}{{ '</arg_value>\\n' }}{% endfor %}
        """

    private static let families: [(name: String, format: ToolCallFormat, template: String)] = [
        (
            "Qwen 2.5", .tagged,
            template(
                "<|im_start|>assistant\\n", each("{{ '\\n<tool_call>\\n' }}\(object){{ '\\n</tool_call>' }}"),
                "<|im_end|>")
        ),
        (
            "Granite 3.1", .tagged,
            template("<|assistant|>", "{{ '<tool_call>[' }}\(each(object, between: ", ")){{ ']' }}", "<|end|>")
        ),
        (
            "Qwen3-Coder", .tagged,
            template(
                "<|im_start|>assistant\\n",
                each(
                    "{{ '\\n<tool_call>\\n<function=' + f.name + '>\\n' }}\(xml){{ '</function>\\n</tool_call>' }}"),
                "<|im_end|>")
        ),
        (
            "GLM-4.5", .tagged,
            template(
                "<|assistant|>", each("{{ '\\n<tool_call>' + f.name + '\\n' }}\(glm){{ '</tool_call>' }}"), "<|end|>")
        ),
        (
            "Mistral", .mistral,
            template("[/INST]", "{{ '[TOOL_CALLS] [' }}\(each(object, between: ", ")){{ ']' }}", "</s>")
        ),
        (
            "Mistral Small 3.2", .mistralNamed,
            template("[/INST]", each("{{ '[TOOL_CALLS]' + f.name + '[ARGS]' + f.arguments | tojson }}"), "</s>")
        ),
        (
            "Magistral", .mistralNamed,
            template(
                "[/INST]",
                each("{{ '[TOOL_CALLS]' + f.name + '[CALL_ID]' + call.id + '[ARGS]' + f.arguments | tojson }}"), "</s>")
        ),
        (
            "Phi-4", .listed,
            template(
                "<|assistant|>", "{{ '<|tool_call|>[' }}\(each(object, between: ", ")){{ ']<|/tool_call|>' }}",
                "<|end|>")
        ),
        (
            "Functionary 3.1", .functionTags,
            template(
                "<|assistant|>", each("{{ '<function=' + f.name + '>' + f.arguments | tojson + '</function>' }}"),
                "<|end|>")
        ),
        (
            "Functionary 3.2", .recipients,
            template(
                ">>>",
                "{% if not message.content %}{{ 'all\\n' }}{% endif %}"
                    + each("{{ '>>>' + f.name + '\\n' + f.arguments | tojson }}"), "<|eot_id|>")
                + "{# text is for >>>all #}"
        ),
        (
            "DeepSeek V3.1", .deepSeek,
            template(
                "<｜Assistant｜>",
                "{{ '<｜tool▁calls▁begin｜>' }}"
                    + each(
                        "{{ '<｜tool▁call▁begin｜>' + f.name + '<｜tool▁sep｜>' + f.arguments | tojson + '<｜tool▁call▁end｜>' }}"
                    )
                    + "{{ '<｜tool▁calls▁end｜>' }}", "<｜end▁of▁sentence｜>")
        ),
        (
            "DeepSeek R1", .deepSeekFenced,
            template(
                "<｜Assistant｜>",
                "{{ '<｜tool▁calls▁begin｜>' }}"
                    + each(
                        "{{ '<｜tool▁call▁begin｜>function<｜tool▁sep｜>' + f.name + '\\n```json\\n' + f.arguments | tojson "
                            + "+ '\\n```<｜tool▁call▁end｜>' }}", between: "\\n")
                    + "{{ '<｜tool▁calls▁end｜>' }}", "<｜end▁of▁sentence｜>")
        ),
        (
            "Llama 3.1", .bare,
            template(
                "<|assistant|>",
                each(#"{{ '{"name": "' + f.name + '", "parameters": ' + f.arguments | tojson + '}' }}"#, between: "; "),
                "<|eot_id|>")
        ),
    ]

    @Test(arguments: families.map(\.name))
    func readsBackWhatTheTemplateWrites(family: String) throws {
        let (name, format, source) = try #require(Self.families.first { $0.name == family })
        #expect(ToolCallFormat(template: source) == format)
        let template = try ChatTemplate(source)
        var turn = ChatMessage(role: "assistant", content: "")
        turn.extra["tool_calls"] = .array(
            Self.calls.map { call in
                [
                    "id": "123456789", "type": "function",
                    "function": ["name": .string(call.name), "arguments": call.arguments],
                ]
            })
        let (text, ranges) = try template.renderConversation(messages: [ChatMessage(role: "user", content: "Hi"), turn])
        let range = try #require(ranges.first)
        var answer = String(decoding: Array(text.utf8)[range], as: UTF8.self)
        // The token that ends a turn is no part of an answer
        let end = try #require(
            ["<|im_end|>", "<|end|>", "</s>", "<|eot_id|>", "<｜end▁of▁sentence｜>"].first { answer.hasSuffix($0) })
        answer.removeLast(end.count)
        for size in [1, 3, 1000] {
            var scanner = ToolCallScanner(format, parameters: Self.parameters)
            var parts: [ToolCallScanner.Part] = []
            var rest = answer[...]
            while !rest.isEmpty {
                parts += scanner.append(String(rest.prefix(size)))
                rest = rest.dropFirst(size)
            }
            parts += scanner.finish()
            #expect(parts == Self.calls.map { .call($0) }, "\(name): \(answer)")
        }
    }

    @Test func readsPythonsCalls() {
        let template = "Answer with [func_name1(params_name1=params_value1, params_name2=params_value2...), ...]"
        #expect(ToolCallFormat(template: template) == .pythonic)
        var scanner = ToolCallScanner(.pythonic)
        let text =
            #"[weather(city="Rome", days=2), a.now(zone='it\'s "C"', exact=True, none=None, l=[1, -2.5, {'k': ()}],)]"#
        let parts = scanner.append(text) + scanner.finish()
        #expect(
            parts == [
                .call(Self.calls[0]),
                .call(
                    ToolCall(
                        name: "a.now",
                        arguments: [
                            "zone": "it's \"C\"", "exact": true, "none": nil, "l": [1, -2.5, ["k": []]],
                        ])),
            ])
        for text in [
            "[1, 2]", "[f(1)]", "[f(a=b)]", "[f(a=1)] and so on", "[f(a='x]", "[]",
            "[f(a=\(String(repeating: "[", count: 200)))]",
        ] {
            var scanner = ToolCallScanner(.pythonic)
            #expect(scanner.append(text) + scanner.finish() == [.text(text)], "\(text)")
        }
    }

    @Test func tellsTextFromNumbersByTheSchema() {
        let text =
            "<tool_call><function=f><parameter=a>\n12\n</parameter><parameter=b>\n12\n</parameter>"
            + "<parameter=c>\n[1]\n</parameter><parameter=d>\nFalse\n</parameter></function></tool_call>"
        let types = ["a": "string", "b": "integer", "c": "array", "d": "boolean"]
        let properties = JSON.object(JSONObject(types.map { ($0, ["type": .string($1)]) }))
        var scanner = ToolCallScanner(.tagged, parameters: ["f": ["properties": properties]])
        #expect(
            scanner.append(text) == [.call(ToolCall(name: "f", arguments: ["a": "12", "b": 12, "c": [1], "d": false]))])
    }

    @Test func textBetweenRecipients() {
        for size in [1, 1000] {
            var scanner = ToolCallScanner(.recipients)
            var parts: [ToolCallScanner.Part] = []
            for piece in Array("all\nI look.>>>weather\n{\"city\": \"Rome\", \"days\": 2}").chunks(of: size) {
                parts += scanner.append(String(piece))
            }
            parts += scanner.finish()
            let texts = parts.compactMap { if case .text(let text) = $0 { text } else { nil } }
            #expect(texts.joined() == "I look." && parts.last == .call(Self.calls[0]), "\(parts)")
        }
        var scanner = ToolCallScanner(.recipients)
        #expect(scanner.append("Hello") + scanner.finish() == [.text("Hello")])
    }
}

extension Array {
    fileprivate func chunks(of size: Int) -> [ArraySlice<Element>] {
        stride(from: 0, to: count, by: size).map { self[$0..<Swift.min(count, $0 + size)] }
    }
}
