import MoruBase
import MoruTestKit
import MoruText
import Testing

@testable import MoruTraining

@Suite
struct ExampleReaderTests {
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    private func examples(_ text: String, _ source: (inout DataSource) -> Void = { _ in }) throws -> [DataExample] {
        var data = DataSource(try folder.write(text, to: "data.jsonl"))
        source(&data)
        var reader = try ExampleReader(data)
        var examples: [DataExample] = []
        while let entry = try reader.next() { examples.append(entry.example) }
        return examples
    }

    @Test func mixedFilesNameTheLine() throws {
        let text = "{\"prompt\": \"a\", \"completion\": \"b\"}\n\n{\"text\": \"c\"}\n"
        expectError(.dataMalformed, "data.jsonl, line 3: a text example, but ", "line 1 has a completion one") {
            _ = try examples(text)
        }
        expectError(.dataMalformed, "line 3: the record has the fields text", "prompt and completion") {
            _ = try examples(text) { $0.shape = .completion }
        }
    }

    @Test func fieldsCanHaveOtherNames() throws {
        let text = "{\"question\": \"a\", \"answer\": \"b\"}\n"
        let fields = ["prompt": "question", "completion": "answer"]
        #expect(try examples(text) { $0.fields = fields } == [.single(.completion(prompt: "a", completion: "b"))])
        expectError(.dataMalformed, "line 1: answer is null") {
            _ = try examples(text.replacing("\"b\"", with: "null")) { $0.fields = fields }
        }
    }

    @Test func labelsAndTemplates() throws {
        let text = "{\"text\": \"Late again\", \"label\": 1}\n"
        func prompt(_ change: @escaping (inout ClassificationPrompt) -> Void) throws -> DataExample {
            try examples(text) { change(&$0.classification) }[0]
        }
        #expect(
            try prompt { ($0.instruction, $0.labels) = ("Judge.", ["good", "bad"]) }
                == .single(
                    .messages(
                        [
                            ChatMessage(role: "system", content: "Judge."),
                            ChatMessage(role: "user", content: "Late again"),
                            ChatMessage(role: "assistant", content: "bad"),
                        ], tools: nil)))
        #expect(
            try prompt { $0.template = "{text}\nLabel: {label}." }
                == .single(.completion(prompt: "Late again\nLabel: ", completion: "1.")))
        expectError(.dataMalformed, "line 1: label is 1", "the labels are good") {
            _ = try prompt { $0.labels = ["good"] }
        }
        expectError(.dataMalformed, "the classification template is \"{label}\"") {
            _ = try prompt { $0.template = "{label}" }
        }
    }

    @Test func preferencesInEverySpelling() throws {
        let asked = ChatMessage(role: "user", content: "q")
        func answered(_ text: String) -> TrainingExample {
            .messages([asked, ChatMessage(role: "assistant", content: text)], tools: nil)
        }
        let pair = DataExample.pair(PreferencePair(chosen: answered("a"), rejected: answered("b")))
        let (q, a, b) = (
            #"{"role": "user", "content": "q"}"#, #"{"role": "assistant", "content": "a"}"#,
            #"{"role": "assistant", "content": "b"}"#
        )
        for text in [
            "{\"prompt\": [\(q)], \"chosen\": [\(a)], \"rejected\": [\(b)]}",
            "{\"prompt\": [\(q)], \"chosen\": \(a), \"rejected\": \(b)}",
            "{\"prompt\": \"q\", \"chosen\": [\(a)], \"rejected\": [\(b)]}",
            "{\"prompt\": \"q\", \"chosen\": [\(q), \(a)], \"rejected\": [\(q), \(b)]}",
            "{\"chosen\": [\(q), \(a)], \"rejected\": [\(q), \(b)]}",
            "{\"prompt\": [\(q)], \"chosen\": \"a\", \"rejected\": \"b\"}",
        ] {
            #expect(try examples(text) == [pair], "\(text)")
        }
        #expect(
            try examples(#"{"prompt": "q", "chosen": "a", "rejected": "b"}"#) == [
                .pair(
                    PreferencePair(
                        chosen: .completion(prompt: "q", completion: "a"),
                        rejected: .completion(prompt: "q", completion: "b")))
            ])
        // an answer that goes on after the assistant is none
        expectError(.dataMalformed, "does not end with the assistant's") {
            _ = try examples("{\"prompt\": \"q\", \"chosen\": [\(a), \(q)], \"rejected\": [\(b)]}")
        }
    }

    @Test func onlyTheAnswersOfPairsAreLearnt() throws {
        let encoder = ExampleEncoder(try TestModels.tinyPretrained())
        let path = try folder.write(
            """
            {"prompt": [{"role": "user", "content": "1"}, {"role": "assistant", "content": "one"}, \
            {"role": "user", "content": "2"}], "chosen": "two", "rejected": "three"}
            {"prompt": [{"role": "user", "content": "4 ="}], "chosen": "four", "rejected": "no"}

            """, to: "pairs.jsonl")
        expectError(.dataMalformed, "x.jsonl, line 1: a text example where a preference is expected", "rejected") {
            _ = try PreferenceDataset(
                sources: [DataSource(folder.write("{\"text\": \"x\"}", to: "x.jsonl"))], encoder: encoder, maxLength: 9)
        }
        let data = try PreferenceDataset(sources: [DataSource(path)], encoder: encoder, maxLength: 200)
        #expect(data.count == 2)
        let learnt = data.pairs.map { pair in
            [pair.chosen, pair.rejected].map { example in
                encoder.tokenizer.decode(zip(example.tokens, example.isTarget).filter(\.1).map(\.0))
            }
        }
        #expect(learnt == [["two<|im_end|>", "three<|im_end|>"], ["four<|im_end|>", "no<|im_end|>"]])
        #expect(data.size(of: 1).targets == 8)
        expectError(.dataTooLong, "line 1: the example has") {
            _ = try PreferenceDataset(sources: [DataSource(path)], encoder: encoder, maxLength: 45)
        }
        let short = try PreferenceDataset(sources: [DataSource(path)], encoder: encoder, maxLength: 45, tooLong: .skip)
        #expect(short.count == 1 && short.skippedCount == 1)
    }
}

@Suite
struct LearnedRolesTests {
    private func marked(
        _ text: String, _ learned: LearnedRoles, template: ChatTemplate = .chatML
    ) throws -> String {
        var encoder = ExampleEncoder(tokenizer: try TestModels.byteTokenizer(), template: template)
        encoder.learned = learned
        let parser = ExampleParser(learned: learned)
        let json = try JSON.parse(text, source: "test")
        guard case .single(let single) = try parser.parse(json, as: parser.shape(of: json, place: ""), place: "")
        else { return "" }
        let example = try encoder.encode(single)
        var result = ""
        var isOpen = false
        for (token, isTarget) in zip(example.tokens, example.isTarget) {
            if isTarget != isOpen { result += isTarget ? "[" : "]" }
            isOpen = isTarget
            result += encoder.tokenizer.decode([token])
        }
        return (result + (isOpen ? "]" : "")).replacing("<|im_start|>", with: "<").replacing("<|im_end|>", with: ">")
    }

    private let chat =
        #"{"messages": [{"role": "system", "content": "be"}, {"role": "user", "content": " hi"}, "#
        + #"{"role": "assistant", "content": "ho"}, {"role": "user", "content": "s"}, "#
        + #"{"role": "assistant", "content": "t", "weight": 1}]}"#

    @Test func anySetOfRoles() throws {
        let start = "<system\nbe>\n"
        #expect(
            try marked(chat, .assistant)
                == start + "<user\n hi>\n<assistant\n[ho>]\n<user\ns>\n<assistant\n[t>]\n")
        #expect(
            try marked(chat, LearnedRoles(["user"]))
                == start + "<user\n[ hi>]\n<assistant\nho>\n<user\n[s>]\n<assistant\nt>\n")
        #expect(
            try marked(chat, LearnedRoles(["system", "assistant"]))
                == "<system\n[be>]\n<user\n hi>\n<assistant\n[ho>]\n<user\ns>\n<assistant\n[t>]\n")
        #expect(
            try marked(chat, .all)
                == "<[system\nbe>\n<user\n hi>\n<assistant\nho>\n<user\ns>\n<assistant\nt>\n]")
        #expect(try marked(#"{"prompt": "ab", "completion": "c"}"#, .all) == "a[bc>]")
        #expect(try marked(#"{"prompt": "ab", "completion": "c"}"#, LearnedRoles(["user"])) == "a[b]c>")
    }

    @Test func messagesCanBeLeftOut() throws {
        let first = chat.replacing("\"ho\"", with: "\"ho\", \"weight\": 0")
        #expect(
            try marked(first, .assistant)
                == "<system\nbe>\n<user\n hi>\n<assistant\nho>\n<user\ns>\n<assistant\n[t>]\n")
        // the mark is not shown to the template
        let printing = try ChatTemplate("{% for m in messages %}{{ m }}{% endfor %}")
        #expect(!(try marked(first, .all, template: .chatML)).contains("weight"))
        #expect(!(try marked(chat, .all, template: printing)).contains("weight"))
        expectError(.dataMalformed, "no message is the tool's") { _ = try marked(chat, LearnedRoles(["tool"])) }
    }

    @Test func generationBlocksOfSomeTurns() throws {
        let template = try ChatTemplate(
            "{% for m in messages %}{% if m.role == 'assistant' %}A:{% generation %}{{ m.content }}<|im_end|>"
                + "{% endgeneration %}{% else %}U:{{ m.content }}{% endif %};{% endfor %}"
                + "{% if add_generation_prompt %}A:{% endif %}")
        let first = chat.replacing("\"ho\"", with: "\"ho\", \"weight\": 0")
        #expect(try marked(chat, .assistant, template: template) == "U:be;U: hi;A:[ho>];U:s;A:[t>];")
        #expect(try marked(first, .assistant, template: template) == "U:be;U: hi;A:ho>;U:s;A:[t>];")
    }
}

@Suite
struct SeveralSourcesTests {
    @Test func sourcesKeepTheirWeightsAndOrder() throws {
        let folder = try TemporaryFolder()
        let encoder = ExampleEncoder(try TestModels.tinyPretrained())
        let lines = (0..<700).map { "{\"text\": \"line \($0)\"}\n" }.joined()
        let sources = [
            DataSource(try folder.write(lines, to: "a.jsonl"), weight: 2),
            DataSource(try folder.write("text,label\nhi,x\n", to: "b.csv"), shape: .text, weight: 1),
        ]
        let data = try TokenizedDataset(sources: sources, encoder: encoder, maxLength: 100)
        #expect(data.order(seed: 5).shares == [700, 350])
        let plain = try TokenizedDataset(
            sources: sources.map { DataSource($0.path, shape: .text) }, encoder: encoder, maxLength: 100)
        #expect(plain.order(seed: 5).shares == [700, 1] && plain.fingerprint != data.fingerprint)
        // the loop asks the task
        let task = LanguageModelTask(model: try TestModels.tinyLlama(), adapter: nil, training: data)
        #expect(task.order(of: .training, seed: 5) == data.order(seed: 5))
        let mixture = try ExampleMixture([plain, data], weights: [1, 3], end: .smallest)
        #expect(mixture.count == 1402 && mixture.order(seed: 1).shares == [234, 700])
        #expect(mixture.sequences(of: 701 + 700) == [data.examples[700]])
        #expect(data.count == 701 && data.source.hasSuffix("b.csv"))
        let texts = data.examples.map { encoder.tokenizer.decode($0.tokens, skipSpecialTokens: true) }
        expectEqual(texts, (0..<700).map { "line \($0)" } + ["hi"])
        expectError(.dataEmpty, "c.jsonl: there are no examples") {
            let empty = DataSource(try folder.write("\n", to: "c.jsonl"))
            _ = try TokenizedDataset(sources: sources + [empty], encoder: encoder, maxLength: 100)
        }
        expectError(.dataMalformed, "line 600, column ") {
            let broken = lines.replacing("\"line 599\"}", with: "\"line 599\"")
            _ = try TokenizedDataset(
                sources: [DataSource(folder.write(broken, to: "d.jsonl"))], encoder: encoder, maxLength: 100)
        }
    }
}
