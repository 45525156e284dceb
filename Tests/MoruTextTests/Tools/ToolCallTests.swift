import MoruBase
import Testing

@testable import MoruText

/// Calls of functions in answers.
struct ToolCallTests {
    private let weather = ToolCall(name: "weather", arguments: ["city": "Paris", "days": 2])

    private func scan(_ format: ToolCallFormat, _ answer: String, pieces: Int) -> [ToolCallScanner.Part] {
        var scanner = ToolCallScanner(format)
        var parts: [ToolCallScanner.Part] = []
        var rest = answer[...]
        while !rest.isEmpty {
            parts += scanner.append(String(rest.prefix(pieces)))
            rest = rest.dropFirst(pieces)
        }
        parts += scanner.finish()
        // Neighbouring texts are one
        return parts.reduce(into: []) { all, part in
            if case .text(let new) = part, case .text(let old)? = all.last {
                all[all.count - 1] = .text(old + new)
            } else {
                all.append(part)
            }
        }
    }

    @Test(arguments: [1, 2, 7, 1000])
    func answersInPieces(pieces: Int) {
        let call = #"{"name": "weather", "arguments": {"city": "Paris", "days": 2}}"#
        let tagged = "I will look.\n<tool_call>\n\(call)\n</tool_call>\n<tool_call>\(call)</tool_call>"
        #expect(
            scan(.tagged, tagged, pieces: pieces) == [
                .text("I will look.\n"), .call(weather), .text("\n"), .call(weather),
            ])
        #expect(scan(.mistral, "[TOOL_CALLS] [\(call),\(call)]", pieces: pieces) == [.call(weather), .call(weather)])
        #expect(scan(.listed, "<|tool_call|>[\(call)]<|/tool_call|>", pieces: pieces) == [.call(weather)])
        let bare = #"{"name": "weather", "parameters": {"city": "Paris", "days": 2}}"#
        #expect(scan(.bare, "\n\(bare); \(bare)", pieces: pieces) == [.call(weather), .call(weather)])
        #expect(scan(.bare, "<|python_tag|>\(bare)", pieces: pieces) == [.call(weather)])
        let named = "weather\n{\"city\": \"Paris\", \"days\": 2}"
        #expect(scan(.recipients, "\(named)>>>\(named)", pieces: pieces) == [.call(weather), .call(weather)])
        #expect(scan(.recipients, "all\nHello>>>\(named)", pieces: pieces) == [.text("Hello"), .call(weather)])
        #expect(scan(.recipients, "all\n>>>\(named)", pieces: pieces) == [.call(weather)])
    }

    /// Took minutes when all that came before was searched again with each piece.
    @Test(.timeLimit(.minutes(1))) func longCalls() {
        let text = String(repeating: "one, two; ", count: 20_000)
        let answer = "<tool_call>{\"name\": \"write\", \"arguments\": {\"text\": \"\(text)\"}}</tool_call>"
        let parts = scan(.tagged, answer, pieces: 4)
        #expect(parts == [.call(ToolCall(name: "write", arguments: ["text": .string(text)]))])
    }

    @Test(arguments: [1, 5, 1000])
    func whatIsNoCallIsText(pieces: Int) {
        for (format, text) in [
            (.tagged, "a < b and <tool> <tool_cal"), (.tagged, "<tool_call>{\"nam\": 1}</tool_call> so"),
            (.mistral, "[TOOL_CALLS]none"), (.mistralNamed, "[TOOL_CALLS]f[ARGS]{"),
            (.functionTags, "<function=f>1</function>"),
            (.deepSeek, "<｜tool▁calls▁begin｜>f<｜tool▁calls▁end｜>."), (.tagged, "<tool_call>call me</tool_call>"),
            (.bare, "{\"answer\": 3}"), (.bare, "the set {1, 2}"), (.mistral, "[TOOL] [TOOL_CALL"),
        ] as [(ToolCallFormat, String)] {
            #expect(scan(format, text, pieces: pieces) == [.text(text)], "\(text)")
        }
        // The end of the answer before the mark's: still the call that it is
        #expect(
            scan(
                .tagged, #"<tool_call>{"name": "weather", "arguments": "{\"city\": \"Paris\", \"days\": 2}"}"#,
                pieces: pieces)
                == [.call(weather)])
    }

    @Test func formatsOfTemplates() {
        #expect(ToolCallFormat(template: "...<tool_call>...") == .tagged)
        #expect(ToolCallFormat(template: "[AVAILABLE_TOOLS]...[TOOL_CALLS]") == .mistral)
        #expect(ToolCallFormat(template: "<|tool_call|>") == .listed)
        #expect(ToolCallFormat(template: "[TOOL_CALLS]name[ARGS]{}") == .mistralNamed)
        #expect(ToolCallFormat(template: "<function=name>{} <|python_tag|>") == .functionTags)
        #expect(ToolCallFormat(template: "{\"name\": function name, \"parameters\": dictionary}") == .bare)
        #expect(ToolCallFormat(template: nil) == .tagged)
    }

    /// What the grammar of calls allows is read as that call.
    @Test(arguments: ToolCallFormat.allCases)
    func grammars(format: ToolCallFormat) throws {
        let schema: JSON = ["type": "object", "required": ["city"], "properties": ["city": ["enum": ["Rome"]]]]
        let grammar = try TokenGrammar(
            format.grammar(calling: [("a", ["type": "object"]), ("weather", schema)]),
            TokenTrie((0..<256).map { [UInt8($0)] }))
        var matcher = grammar.matcher()
        // The first byte that is allowed, but for the function's name
        while !matcher.mustEnd {
            let ids = try matcher.allowed().ids
            let begins = ids.contains(97) && ids.contains(119)
            let isAllowed = matcher.accept(Int32(begins ? 119 : ids.first { $0 > 32 } ?? ids[0]))
            try #require(isAllowed)
        }
        var scanner = ToolCallScanner(format)
        let parts = scanner.append(String(decoding: matcher.bytes, as: UTF8.self)) + scanner.finish()
        #expect(parts == [.call(ToolCall(name: "weather", arguments: ["city": "Rome"]))])
    }
}
