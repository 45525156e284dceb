import MoruBase
import MoruTestKit
import MoruText
import MoruTraining
import MoruTrust
import Testing

@Suite struct EvaluationExampleTests {
    /// Reads the examples of a file with the given lines; the file's path is given to the body.
    private func read(
        _ lines: String, limit: Int? = nil, instruction: String? = nil
    ) throws -> (examples: [EvaluationExample], path: String) {
        let path = TestNeeds.temporaryPath("examples.jsonl")
        defer { FileSystem.remove(path) }
        try FileSystem.write(lines.utf8, to: path)
        return (try EvaluationExample.read(path, limit: limit, instruction: instruction), path)
    }

    @Test func everyShape() throws {
        let (examples, path) = try read(
            """
            {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}], "id": 7}

            {"prompt": "2 + 2 =", "completion": " 4"}
            {"text": "it broke", "label": "negative"}
            {"text": "is it open?", "label": 1}
            {"text": "yes", "label": true}
            {"prompt": "a", "completion": "b", "text": "ignored", "label": "ignored"}
            """, instruction: "Classify.")
        try #require(examples.count == 6)
        #expect(examples[0].prompt == .messages([ChatMessage(role: "user", content: "hi")]))
        #expect(examples[0].reference == "hello" && examples[0].place == "\(path):1")
        #expect(examples[1].prompt == .text("2 + 2 =") && examples[1].reference == " 4")
        #expect(examples[1].place == "\(path):3")
        let system = ChatMessage(role: "system", content: "Classify.")
        #expect(examples[2].prompt == .messages([system, ChatMessage(role: "user", content: "it broke")]))
        #expect(examples[2].reference == "negative")
        guard case .messages(let scored, nil) = examples[2].scoring else {
            Issue.record("a labelled text is scored as a conversation")
            return
        }
        #expect(scored.last == ChatMessage(role: "assistant", content: "negative") && scored.count == 3)
        #expect(examples[3].reference == "1" && examples[4].reference == "true")
        #expect(examples[5].prompt == .text("a") && examples[5].reference == "b")
    }

    @Test func aLimitAndNoInstruction() throws {
        let lines = (0..<5).map { #"{"text": "t\#($0)", "label": "x"}"# }.joined(separator: "\n")
        let (examples, _) = try read(lines, limit: 2)
        #expect(examples.map(\.prompt) == ["t0", "t1"].map { .messages([ChatMessage(role: "user", content: $0)]) })
        // What comes after the limit is not read
        #expect(try read(lines + "\n{", limit: 5).examples.count == 5)
    }

    @Test(arguments: [
        (#"{"text": "only text"}"#, MoruError.Code.evaluationData, "plain text"),
        (#"{"messages": [{"role": "user", "content": "hi"}]}"#, .dataMalformed, "assistant"),
        (
            #"{"messages": [{"role": "assistant", "content": "a"}, {"role": "user", "content": "b"}]}"#,
            .evaluationData,
            "does not end"
        ),
        (#"{"messages": [{"role": "assistant", "content": "a"}]}"#, .evaluationData, "no message before"),
        (
            #"{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": null}]}"#,
            .evaluationData, "no text"
        ),
        (#"{"messages": []}"#, .dataMalformed, "empty"),
        (#"{"prompt": "", "completion": "x"}"#, .evaluationData, "prompt is empty"),
        (#"{"prompt": "p", "completion": ""}"#, .dataMalformed, "completion is empty"),
        (#"{"prompt": "p", "completion": " \n"}"#, .evaluationData, "no text"),
        (#"{"text": "t", "label": ["a"]}"#, .dataMalformed, "label is an array"),
        (#"{"text": "t", "label": null}"#, .dataMalformed, "label is null"),
        (#"{"text": "t", "label": ""}"#, .dataMalformed, "label is empty"),
        (#"{"text": 3, "label": "x"}"#, .dataMalformed, "text is an integer"),
        (#"{"text": "", "label": "x"}"#, .dataMalformed, "text is empty"),
        (#"{"question": "q"}"#, .dataMalformed, "question"),
        ("[1, 2]", .dataMalformed, "array"),
        (#"{"text": "#, .dataMalformed, "line 2"),
    ])
    func aBadLineIsNamed(line: String, code: MoruError.Code, words: String) throws {
        let error = try #require(throws: MoruError.self) {
            _ = try read(#"{"text": "good", "label": "x"}"# + "\n" + line + "\n")
        }
        #expect(error.code == code && error.message.contains(words), "\(error)")
        let places = ["examples.jsonl:2", "examples.jsonl, line 2"]
        #expect(places.contains { error.message.contains($0) }, "\(error)")
        #expect(error.remedy?.isEmpty == false)
    }

    @Test(arguments: ["", "\n\n", "\u{FEFF}"])
    func anEmptyFile(content: String) throws {
        let error = try #require(throws: MoruError.self) { _ = try read(content) }
        #expect(error.code == .dataEmpty && error.message.contains("examples.jsonl") && error.remedy != nil)
    }

    @Test func aMissingFile() throws {
        let error = try #require(throws: MoruError.self) { _ = try EvaluationExample.read("/nosuch/data.jsonl") }
        #expect(error.code == .fileNotFound && error.message.contains("/nosuch/data.jsonl"))
    }
}
