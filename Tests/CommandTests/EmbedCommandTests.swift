import Foundation
import MoruBase
import MoruModels
import MoruNN
import MoruTensor
import MoruTestKit
import Testing

/// `moru embed`, and what other commands say of an encoder.
@Suite(.serialized) struct EmbedCommandTests {
    private let home = TestNeeds.temporaryPath("home")
    private var moru: BuiltProgram { BuiltProgram("moru", environment: ["MORU_HOME": home, "HOME": home]) }

    private func withTinyEncoder(_ body: (String) throws -> Void) throws {
        try TestModels.tinyEmbedder(contextLength: 32, prompts: ["query": "q: "]).save(to: home + "/encoder")
        defer { FileSystem.remove(home) }
        try body(home + "/encoder")
    }

    private func lines(_ output: String) throws -> [JSON] {
        try output.split(separator: "\n").map { try JSON.parse(String($0), source: "output") }
    }

    @Test func textsComeFromArgumentsInputAndFiles() throws {
        try withTinyEncoder { model in
            let outcome = try moru.run(["embed", model, "one", "two", "--json"])
            let expected = try lines(outcome.output)
            #expect(outcome.code == 0 && expected.map { $0["text"] } == ["one", "two"], "\(outcome.errors)")
            #expect(expected.allSatisfy { $0["embedding"]?.array?.count == 32 })
            #expect(outcome.errors == "2 texts, 6 tokens, 32 dimensions\n")
            #expect(try lines(moru.run(["embed", model, "--json"], input: "one\n\ntwo\n").output) == expected)
            try FileSystem.write("one\ntwo\n".utf8, to: home + "/texts.txt")
            try FileSystem.write("id,body\n1,one\n2,two\n".utf8, to: home + "/texts.csv")
            try FileSystem.write("{\"text\": \"one\"}\n{\"text\": \"two\"}\n".utf8, to: home + "/texts.jsonl")
            for arguments in [["texts.txt"], ["texts.csv", "--field", "body"], ["texts.jsonl"]] {
                let data = ["--data", "\(home)/\(arguments[0])"] + arguments.dropFirst()
                #expect(try lines(moru.run(["embed", model, "--json"] + data).output) == expected)
            }
            let plain = try moru.run(["embed", model, "one"]).output.split(separator: " ")
            #expect(plain.count == 32)
            let wrong = try moru.run(["embed", model, "--data", home + "/texts.csv"])
            #expect(wrong.code == 2 && wrong.errors.contains("body"), "\(wrong.errors)")
        }
    }

    @Test func filesHoldTheSameVectors() throws {
        try withTinyEncoder { model in
            let expected = try lines(moru.run(["embed", model, "one", "two", "--json"]).output)
            let values = expected.flatMap { $0["embedding"]?.floats ?? [] }
            for name in ["v.jsonl", "v.npy", "v.safetensors"] {
                let outcome = try moru.run(["embed", model, "one", "two", "--output", "\(home)/\(name)"])
                #expect(outcome.code == 0 && outcome.output.isEmpty, "\(outcome.errors)")
            }
            #expect(try lines(FileSystem.readText(home + "/v.jsonl")) == expected)
            let tensor = try SafetensorsFile(path: home + "/v.safetensors").tensor("embeddings")
            #expect(tensor.shape == [2, 32] && tensor.values() == values)
            let bytes = try FileSystem.read(home + "/v.npy")
            #expect(bytes.count % 64 == 0 && bytes.starts(with: [0x93] + Array("NUMPY".utf8)))
            #expect(String(decoding: bytes.prefix(128), as: UTF8.self).contains("'shape': (2, 32)"))
            #expect(Array(bytes.suffix(256)) == values.flatMap { withUnsafeBytes(of: $0.bitPattern, Array.init) })
            let unknown = try moru.run(["embed", model, "one", "--output", home + "/v.txt"])
            #expect(unknown.code == 2 && unknown.errors.contains(".npy"), "\(unknown.errors)")
        }
    }

    @Test func longTextsPromptsAndSimilarity() throws {
        try withTinyEncoder { model in
            let long = String(repeating: "long ", count: 10)
            let refused = try moru.run(["embed", model, "short", long])
            #expect(refused.code == 5 && refused.errors.contains("text 2 has 50 tokens"), "\(refused.errors)")
            let cut = try moru.run(["embed", model, "short", long, "--truncate"])
            #expect(cut.code == 0 && cut.errors.contains("1 text was cut short at 32 tokens"), "\(cut.errors)")
            let prompted = try lines(moru.run(["embed", model, "one", "--prompt", "query", "--json"]).output)
            let spelled = try lines(moru.run(["embed", model, "q: one", "--json"]).output)
            #expect(prompted.first?["embedding"] == spelled.first?["embedding"])
            let table = try moru.run(["embed", model, "one", "two", "one", "--similarity"]).output
            let rows = table.split(separator: "\n").map { $0.split(separator: " ") }
            #expect(rows.count == 5 && rows[2].last == "1.000" && rows[2][2] == "1.000" && rows[3][3] == "1.000")
        }
    }

    @Test func otherCommandsSayWhatAnEncoderIs() throws {
        try withTinyEncoder { model in
            let chat = try moru.run(["generate", model, "-p", "a"])
            #expect(chat.code == 4 && chat.errors.contains("encoder") && chat.errors.contains("moru embed"))
            let show = try JSON.parse(try moru.run(["show", model, "--json"]).output, source: "show")
            #expect(show["architecture"] == "bert" && show["embedding_size"] == 32 && show["chat_template"] == false)
            #expect(try moru.run(["tokenize", model, "-p", "A"]).code == 0)
        }
    }
}
