import Foundation
import MoruBase
import MoruTestKit
import Testing

/// `moru data` as a user meets it.
@Suite struct DataCommandTests {
    private let home = TestNeeds.temporaryPath("data")
    private var moru: BuiltProgram { BuiltProgram("moru", environment: ["MORU_HOME": home, "MORU_CONFIG": ""]) }

    private func withData(_ text: String, _ body: (String) throws -> Void) throws {
        try FileSystem.write(text.utf8, to: home + "/data.jsonl")
        defer { FileSystem.remove(home) }
        try body(home + "/data.jsonl")
    }

    private let chats = (0..<20).map { number in
        "{\"messages\": [{\"role\": \"user\", \"content\": \"Question \(number * 7919)?\"}, "
            + "{\"role\": \"assistant\", \"content\": \"topic: \(number % 2 == 0 ? "even" : "odd")\"}]}\n"
    }.joined()

    @Test(arguments: ["inspect", "preview", "split"])
    func helpFitsATerminal(command: String) throws {
        let help = try moru.run(["data", command, "--help"])
        #expect(help.code == 0 && help.output.contains("Examples:"))
        let widest = help.output.split(separator: "\n").map(\.count).max() ?? 0
        #expect(widest <= 80, "\(widest) columns")
    }

    @Test func inspectReportsAndLists() throws {
        try withData(chats + "{\"messages\": []}\n") { path in
            let text = try moru.run(["data", "inspect", path])
            #expect(text.code == 2 && text.errors.isEmpty)
            #expect(text.output.contains("examples  20") && text.output.contains("even"), "\(text.output)")
            #expect(text.output.contains("line 21: messages is empty"))
            let json = try JSON.parse(try moru.run(["data", "inspect", path, "--json"]).output, source: "output")
            #expect(json["examples"] == 20 && json["problem_count"] == 1)
            #expect(json["labels"]?["topic"]?["odd"] == 10)
            #expect(try moru.run(["data", "inspect", home + "/nowhere.jsonl"]).code == 3)
        }
    }

    @Test func previewMarksWhatIsLearnt() throws {
        try withData(chats) { path in
            let model = home + "/tiny"
            try TestModels.writeTinyDirectory(model)
            let text = try moru.run(["data", "preview", path, "--model", model, "-n", "1"])
            #expect(text.code == 0, "\(text.errors)")
            #expect(text.output.contains("<|im_start|>assistant\n[topic: even<|im_end|>]"), "\(text.output)")
            let arguments = ["data", "preview", path, "--model", model, "-n", "2", "--train-on", "user", "--json"]
            let json = try JSON.parse(try moru.run(arguments).output, source: "output")
            #expect(json.array?.count == 2 && json[1]?["learnt"]?.int == "Question 7919?<|im_end|>".utf8.count - 9)
        }
    }

    @Test func splitWritesBothParts() throws {
        try withData(chats) { path in
            let (train, validation) = (home + "/train.jsonl", home + "/validation.jsonl")
            let arguments = [
                "data", "split", path, "--train", train, "--validation", validation, "--share", "0.2", "--stratify",
                "topic",
            ]
            let outcome = try moru.run(arguments)
            #expect(outcome.code == 0 && outcome.output.contains("train.jsonl: 16 examples"), "\(outcome.errors)")
            let lines = try [train, validation].map {
                try FileSystem.readText($0).split(separator: "\n").map { $0 + "\n" }
            }
            #expect(lines.map(\.count) == [16, 4] && (lines[0] + lines[1]).sorted().joined().count == chats.count)
            let again = try moru.run(arguments)
            #expect(again.code == 6 && again.errors.contains("--force"))
            #expect(try moru.run(arguments + ["--force", "--json"]).code == 0)
        }
    }
}
