import Foundation
import MoruBase
import MoruModels
import MoruTensor
import MoruTestKit
import MoruText
import Testing

@testable import MoruTraining

@Suite
struct JSONLReaderTests {
    private func records(_ text: String) throws -> [DataRecord] {
        let folder = try TemporaryFolder()
        var reader = try JSONLReader(path: folder.write(text, to: "data.jsonl"))
        var records: [DataRecord] = []
        while let record = try reader.next() { records.append(record) }
        return records
    }

    @Test(arguments: [
        ("{\"a\":1}\n{\"a\":2}\n", [1, 2]), ("{\"a\":1}\n{\"a\":2}", [1, 2]),
        ("\u{FEFF}{\"a\":1}\r\n{\"a\":2}\r\n", [1, 2]),
        ("\n\n{\"a\":1}\n \t\r\n{\"a\":2}\n\n", [3, 5]), ("", []), ("\n \n", []), ("\u{FEFF}\n{\"a\":1}", [2]),
    ])
    func linesAndTheirNumbers(text: String, lines: [Int]) throws {
        let records = try records(text)
        #expect(records.map(\.line) == lines)
        #expect(records.compactMap { $0.value["a"]?.int } == Array(1...2).prefix(lines.count).map { $0 })
    }

    @Test(arguments: [
        ("{\"a\":1}\n\n{\"a\":}\n", "line 3, column 6", "one whole JSON object"),
        ("{\"a\":1}\n{\"a\":1} {\"a\":2}\n", "line 2, column 9", "one whole JSON object"),
        ("{\n\"a\":1}\n", "line 1", "one whole JSON object"), ("[\n{\"a\":1}\n]\n", "line 1", "without brackets"),
        ("[{\"a\":1}]\n", "line 1: an array where an object", "without brackets"),
        ("7\n", "line 1: an integer", "one whole"),
    ])
    func malformedLinesAreNamed(text: String, place: String, remedy: String) {
        expectError(.dataMalformed, "data.jsonl, ", place, remedy) { _ = try records(text) }
    }

    @Test func missingFilesAreNamed() {
        expectError(.fileNotFound, "/nowhere/data.jsonl") { _ = try JSONLReader(path: "/nowhere/data.jsonl") }
    }

    /// A bounded run of damaged lines: each is read or refused with a typed error.
    @Test func damagedLinesNeverCrash() throws {
        let whole = Array(
            """
            {"messages": [{"role": "user", "content": "caf\\u00e9 \\ud83d\\ude00"}, {"role": "assistant", "content": "ok"}]}
            {"prompt": "1 + 1 =", "completion": " 2"}
            {"text": "plain", "n": [1, 2.5e3, true, null]}

            """.utf8)
        let folder = try TemporaryFolder()
        let encoder = ExampleEncoder(try TestModels.tinyPretrained())
        var generator = RandomGenerator(seed: 5)
        var refused = 0
        for round in 0..<1_000 {
            var bytes = whole
            for _ in 0..<Int.random(in: 1...3, using: &generator) {
                let position = Int.random(in: 0..<bytes.count, using: &generator)
                if Bool.random(using: &generator) {
                    bytes[position] = UInt8.random(in: 0...255, using: &generator)
                } else {
                    bytes.removeSubrange(position..<min(bytes.count, position + 5))
                }
            }
            let path = "\(folder.path)/\(round).jsonl"
            try Data(bytes).write(to: URL(fileURLWithPath: path))
            do {
                _ = try TokenizedDataset(path: path, encoder: encoder, maxLength: 1_000)
            } catch {
                refused += 1
                #expect(error.message.contains(path), "\(error)")
            }
        }
        #expect(refused > 100)
    }
}

@Suite
struct TrainingExampleTests {
    private func example(_ text: String, _ shape: ExampleShape? = nil) throws -> TrainingExample {
        try TrainingExample(json: JSON.parse(text, source: "test"), shape: shape, place: "data.jsonl, line 4")
    }

    @Test func singleShapes() throws {
        let messages = [ChatMessage(role: "user", content: "hi"), ChatMessage(role: "assistant", content: "ho")]
        let chat =
            #"{"id": 3, "messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]}"#
        #expect(try example(chat) == .messages(messages, tools: nil))
        let shared =
            #"{"conversations": [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "ho"}]}"#
        #expect(try example(shared) == .messages(messages, tools: nil))
        let system = ChatMessage(role: "system", content: "be")
        #expect(
            try example(shared.replacing("{\"conv", with: "{\"system\": \"be\", \"conv"))
                == .messages([system] + messages, tools: nil))
        #expect(
            try example(#"{"prompt": "", "completion": "b", "x": "y"}"#) == .completion(prompt: "", completion: "b"))
        #expect(
            try example(#"{"prompt": [{"role": "user", "content": "hi"}], "completion": "ho"}"#)
                == .messages(messages, tools: nil))
        #expect(try example(#"{"text": "t", "prompt": "p"}"#) == .text("t"))
        #expect(try example(#"{"instruction": "hi", "output": "ho", "input": ""}"#) == .messages(messages, tools: nil))
        let asked = ChatMessage(role: "user", content: "hi\n\nyou")
        #expect(
            try example(#"{"instruction": "hi", "input": "you", "output": "ho", "system": "be"}"#)
                == .messages([system, asked, messages[1]], tools: nil))
        #expect(try example(#"{"text": "hi", "label": "ho"}"#) == .messages(messages, tools: nil))
    }

    @Test func theShapeCanBeChosen() throws {
        let record = #"{"text": "t", "label": 1, "prompt": "p", "completion": "c"}"#
        #expect(try example(record, .text) == .text("t"))
        #expect(try example(record, .completion) == .completion(prompt: "p", completion: "c"))
        expectError(.dataAmbiguous, "data.jsonl, line 4: ", "as completion or as classification", "say which") {
            _ = try example(record)
        }
    }

    @Test(arguments: [
        (#"{"question": "a", "answer": "b"}"#, nil as ExampleShape?, "the fields question, answer", "an example needs"),
        (#"{"text": "a"}"#, .chat, "the fields text", "an example needs messages"),
        (#"{"prompt": "a"}"#, .completion, "the fields prompt", "an example needs prompt and completion"),
        ("{}", nil, "no fields", "messages"),
        (#"{"messages": {}}"#, nil, "messages is not a list", "a list"),
        (#"{"messages": []}"#, nil, "messages is empty", "a list"),
        (#"{"messages": [{"role": "user", "content": "hi"}]}"#, nil, "no message is the assistant's", "the answer"),
        (#"{"messages": [{"content": "hi"}]}"#, nil, "messages[0]: ", "role"),
        (#"{"messages": [{"role": "assistant", "content": 3}]}"#, nil, "messages[0]: ", "content"),
        (#"{"messages": [{"role": "assistant", "content": "a", "weight": 2}]}"#, nil, "[0]: weight is 2", "1 to learn"),
        (#"{"messages": [{"role": "assistant", "content": "a", "weight": 0}]}"#, nil, "no message is", "the answer"),
        (#"{"messages": [{"role": "assistant", "content": "a"}], "tools": {}}"#, nil, "tools is an object", "a list"),
        (#"{"text": ""}"#, nil, "text is empty", "remove the record"),
        (#"{"text": 5}"#, nil, "text is an integer", "a string"),
        (#"{"prompt": "a", "completion": ""}"#, nil, "completion is empty", "remove"),
        (#"{"prompt": null, "completion": "a"}"#, nil, "prompt is null", "a string"),
        (#"{"text": "a", "label": ""}"#, nil, "label is empty", "label the text"),
        (#"{"text": "a", "label": null}"#, nil, "label is null", "a string, an integer or a boolean"),
        (#"{"prompt": "a", "chosen": "b", "rejected": "b"}"#, nil, "are the same", "remove"),
        (#"{"chosen": "b", "rejected": "c"}"#, nil, "there is no prompt", "give prompt"),
        (#"{"prompt": "a", "chosen": "b", "rejected": "c"}"#, nil, "a pair of answers", "preference tuning"),
    ])
    func otherShapesAreRefused(text: String, shape: ExampleShape?, message: String, remedy: String) {
        expectError(.dataMalformed, "data.jsonl, line 4: ", message, remedy) { _ = try example(text, shape) }
    }
}

@Suite
struct ExampleEncoderTests {
    private func encoder(_ template: ChatTemplate = .chatML) throws -> ExampleEncoder {
        ExampleEncoder(tokenizer: try TestModels.byteTokenizer(), template: template)
    }

    /// The text with what is learnt in brackets; the special tokens as in the text.
    private func marked(_ example: TokenizedExample, _ tokenizer: Tokenizer) -> String {
        var text = ""
        var isOpen = false
        for (token, isTarget) in zip(example.tokens, example.isTarget) {
            if isTarget != isOpen { text += isTarget ? "[" : "]" }
            isOpen = isTarget
            text += tokenizer.decode([token])
        }
        return text + (isOpen ? "]" : "")
    }

    @Test(arguments: [
        (
            [("user", "hi"), ("assistant", "ho")],
            "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n[ho<|im_end|>]\n"
        ),
        (
            [("system", "be brief"), ("user", "1"), ("assistant", "one"), ("user", "2"), ("assistant", "two\n")],
            "<|im_start|>system\nbe brief<|im_end|>\n<|im_start|>user\n1<|im_end|>\n<|im_start|>assistant\n"
                + "[one<|im_end|>]\n<|im_start|>user\n2<|im_end|>\n<|im_start|>assistant\n[two\n<|im_end|>]\n"
        ),
        (
            [("assistant", "hello"), ("user", "bye")],
            "<|im_start|>assistant\n[hello<|im_end|>]\n<|im_start|>user\nbye<|im_end|>\n"
        ),
        (
            [("user", "?"), ("assistant", "")],
            "<|im_start|>user\n?<|im_end|>\n<|im_start|>assistant\n[<|im_end|>]\n"
        ),
    ])
    func onlyTheAssistantIsLearnt(turns: [(String, String)], expected: String) throws {
        let encoder = try encoder()
        let messages = turns.map { ChatMessage(role: $0.0, content: $0.1) }
        #expect(marked(try encoder.encode(.messages(messages, tools: nil)), encoder.tokenizer) == expected)
    }

    @Test func generationBlocksDecide() throws {
        let template = try ChatTemplate(
            "{% for m in messages %}{% if m.role == 'assistant' %}A:{% generation %}{{ m.content }}<|im_end|>"
                + "{% endgeneration %}{% else %}U:{{ m.content }}{% endif %};{% endfor %}")
        let encoder = try encoder(template)
        let messages = [ChatMessage(role: "user", content: "hi"), ChatMessage(role: "assistant", content: "ho")]
        let example = try encoder.encode(.messages(messages, tools: nil))
        #expect(marked(example, encoder.tokenizer) == "U:hi;A:[ho<|im_end|>];")
    }

    @Test func completionsAndTexts() throws {
        let encoder = try encoder()
        let completion = try encoder.encode(.completion(prompt: "1 + 1 =", completion: " 2"))
        #expect(marked(completion, encoder.tokenizer) == "1 + 1 =[ 2<|im_end|>]")
        // the first token has nothing before it
        #expect(marked(try encoder.encode(.text("é!")), encoder.tokenizer).hasSuffix("!<|im_end|>]"))
        #expect(try encoder.encode(.text("abc")).isTarget == [false, true, true, true])
        #expect(try encoder.encode(.completion(prompt: "", completion: "ab")).isTarget == [false, true, true])
        // an end that the text spells out is not doubled
        #expect(try encoder.encode(.text("abc<|im_end|>")).tokens.count == 4)
    }

    /// A template that prints the date must not make tomorrow's data another.
    @Test func theDateStandsStill() throws {
        let template = try ChatTemplate("{{ strftime_now('%Y') }}{% for m in messages %}{{ m.content }}{% endfor %}")
        let encoder = try encoder(template)
        let example = try encoder.encode(.messages([ChatMessage(role: "assistant", content: "ok")], tools: nil))
        #expect(encoder.tokenizer.decode(example.tokens).hasPrefix("2024"))
    }

    @Test func inputsEndBeforeTheLastTarget() {
        let example = TokenizedExample(tokens: [1, 2, 3, 4, 5], isTarget: [true, false, true, false, false])
        #expect(example.isTarget == [false, false, true, false, false] && example.targetCount == 1)
        #expect(Array(example.inputs) == [1, 2])
    }
}

@Suite
struct TokenizedDatasetTests {
    private let folder: TemporaryFolder
    private let encoder: ExampleEncoder

    init() throws {
        folder = try TemporaryFolder()
        encoder = ExampleEncoder(try TestModels.tinyPretrained())
    }

    private func dataset(
        _ text: String, maxLength: Int = 100, _ tooLong: DataSettings.LengthPolicy = .error
    ) throws -> TokenizedDataset {
        try TokenizedDataset(
            path: folder.write(text, to: "data.jsonl"), encoder: encoder, maxLength: maxLength, tooLong: tooLong)
    }

    @Test func longExamplesAreNeverCutInSilence() throws {
        let text = """
            {"prompt": "", "completion": "short"}
            {"prompt": "", "completion": "a much longer line"}
            {"prompt": "the prompt alone is too long", "completion": "x"}

            """
        expectError(.dataTooLong, "data.jsonl, line 2: ", "19 tokens", "the limit is 8", "data.too_long") {
            _ = try dataset(text, maxLength: 8)
        }
        let skipped = try dataset(text, maxLength: 8, .skip)
        #expect(skipped.examples.count == 1 && skipped.skippedCount == 2 && skipped.truncatedCount == 0)
        let cut = try dataset(text, maxLength: 8, .truncate)
        #expect(cut.examples.map(\.tokens.count) == [6, 8] && cut.skippedCount == 1 && cut.truncatedCount == 1)
        #expect(cut.notice?.contains("1 examples were left out, 1 examples were cut") == true)
        #expect(try dataset(text).notice == nil)
    }

    @Test func emptyFilesAreRefused() {
        expectError(.dataEmpty, "data.jsonl: there are no examples") { _ = try dataset("\n\n") }
        expectError(.dataEmpty, "all 1 examples are longer than 3 tokens") {
            _ = try dataset("{\"text\": \"long\"}\n", maxLength: 3, .skip)
        }
        expectError(.dataMalformed, "line 1: the example has no tokens to learn") {
            let template = try ChatTemplate("{% for m in messages %}{{ m.role }}{% endfor %}")
            _ = try TokenizedDataset(
                path: folder.write(#"{"messages": [{"role": "assistant", "content": null}]}"#, to: "none.jsonl"),
                encoder: ExampleEncoder(
                    tokenizer: encoder.tokenizer, template: ChatTemplate("{{ '' }}", name: template.name)),
                maxLength: 10)
        }
    }

    @Test func templatesThatFailNameTheLine() {
        expectError(.templateRaised, "data.jsonl, line 2: ", "no jokes") {
            let template = try ChatTemplate(
                "{% for m in messages %}{% if m.content == 'joke' %}{{ raise_exception('no jokes') }}{% endif %}xy{% endfor %}"
            )
            let text = #"{"messages": [{"role": "assistant", "content": "a"}]}"#
            _ = try TokenizedDataset(
                path: folder.write(text + "\n" + text.replacing("\"a\"", with: "\"joke\""), to: "data.jsonl"),
                encoder: ExampleEncoder(tokenizer: encoder.tokenizer, template: template), maxLength: 100)
        }
    }

    @Test func fingerprintsNoticeEveryChange() {
        let examples = SmallRun.examples(4)
        func fingerprint(_ examples: [TokenizedExample]) -> Fingerprint {
            TokenizedDataset(source: "made up", examples: examples).fingerprint
        }
        #expect(fingerprint(examples) == fingerprint(SmallRun.examples(4)))
        #expect(fingerprint(examples) != fingerprint(examples.reversed()))
        var flags = examples[1].isTarget
        flags[2].toggle()
        var changed = examples
        changed[1] = TokenizedExample(tokens: examples[1].tokens, isTarget: flags)
        #expect(fingerprint(examples) != fingerprint(changed))
    }
}

@Suite
struct BatchPlanTests {
    @Test(arguments: [(10, 2, 2), (7, 3, 1), (1, 8, 4), (5, 2, 1_000_000), (6, 1, 1), (12, 1_000_000, 3)])
    func anEpochHasEveryExampleOnce(count: Int, batchSize: Int, accumulation: Int) {
        let plan = BatchPlan(exampleCount: count, batchSize: batchSize, accumulation: accumulation, seed: 3)
        var orders: [[Int]] = []
        for epoch in 0..<3 {
            let steps = (0..<plan.stepsPerEpoch).map { plan.batches(at: epoch * plan.stepsPerEpoch + $0) }
            #expect(steps.allSatisfy { 1...accumulation ~= $0.count })
            #expect(steps.joined().allSatisfy { 1...batchSize ~= $0.count })
            let order = steps.flatMap { $0.flatMap { $0 } }
            #expect(order.sorted() == Array(0..<count))
            orders.append(order)
        }
        if count > 4 { #expect(Set(orders).count == 3) }
        // the order does not depend on how it is cut
        let single = BatchPlan(exampleCount: count, batchSize: 1, accumulation: 1, seed: 3)
        #expect(orders[0] == (0..<count).map { single.batches(at: $0)[0][0] })
        #expect(plan.position(at: plan.stepsPerEpoch) == DataPosition(seed: 3, epoch: 1, index: 0))
    }
}
