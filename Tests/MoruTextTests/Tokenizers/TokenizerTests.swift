import MoruBase
import MoruTestKit
import Testing

@testable import MoruText

@Suite struct TokenizerTests {
    static let byteLevel = ["gpt2", "smollm", "llama3", "qwen2", "cl100k", "o200k", "deepseek"]
    static let families =
        byteLevel + [
            "roberta", "added-tokens", "llama2", "mistral", "gemma", "t5", "unigram-bytes", "precompiled", "bert",
            "bert-cased", "word-level", "openai-gpt", "continuing-prefix", "behaviors",
        ]

    static func load(_ name: String) throws -> Tokenizer {
        try Tokenizer(file: "\(TokenizerGolden.folder)/\(name).tokenizer.json")
    }

    @Test(arguments: byteLevel)
    func invalidUTF8SurvivesByteForByte(name: String) throws {
        let tokenizer = try Self.load(name)
        var generator = SystemRandomNumberGenerator()
        var texts: [[UInt8]] = (0...255).map { [$0] }
        texts += [
            [0x61, 0xFF, 0x62], [0xE2, 0x82], [0x20, 0xF0, 0x9F, 0x98], Array("é".utf8.dropLast()) + [0x20, 0x80],
        ]
        for _ in 0..<300 {
            texts.append((0..<Int.random(in: 0...60)).map { _ in .random(in: 0...255, using: &generator) })
        }
        for bytes in texts {
            let ids = tokenizer.encode(utf8: bytes, addSpecialTokens: false, parseSpecial: false)
            let back = ids.flatMap { tokenizer.bytes(of: $0) }
            // NFC may rewrite what is valid.
            if name != "qwen2" || String(validating: bytes, as: UTF8.self) == nil && bytes.count < 5 {
                expectEqual(back, bytes, "\(bytes)")
            }
        }
    }

    @Test(arguments: families)
    func noInputTraps(name: String) throws {
        let tokenizer = try Self.load(name)
        var generator = SystemRandomNumberGenerator()
        for _ in 0..<200 {
            let bytes = (0..<Int.random(in: 0...200)).map { _ in UInt8.random(in: 0...255, using: &generator) }
            let ids = tokenizer.encode(utf8: bytes)
            let areInRange = ids.allSatisfy { $0 >= 0 && Int($0) < tokenizer.vocabularySize }
            #expect(areInRange)
            _ = tokenizer.decode(ids)
        }
        let strange: [Int32] = [-1, .min, .max, Int32(tokenizer.vocabularySize), 0]
        _ = tokenizer.decode(strange)
        #expect(tokenizer.bytes(of: -1).isEmpty && tokenizer.piece(.max) == nil && !tokenizer.isSpecial(-5))
    }

    @Test func invalidUTF8IsReplacedWhereWordsAreCharacters() throws {
        let tokenizer = try Self.load("llama2")
        #expect(tokenizer.encode(utf8: [0x61, 0xFF, 0x62]) == tokenizer.encode("a\u{FFFD}b"))
        #expect(tokenizer.encode(utf8: []) == tokenizer.encode(""))
    }

    @Test func piecesAndIDs() throws {
        let tokenizer = try Self.load("gpt2")
        let id = try #require(tokenizer.id(of: "<|im_end|>"))
        #expect(tokenizer.isSpecial(id) && tokenizer.piece(id) == "<|im_end|>")
        #expect(tokenizer.bytes(of: id) == Array("<|im_end|>".utf8))
        let space = try #require(tokenizer.id(of: "Ġ"))
        #expect(tokenizer.bytes(of: space) == [0x20] && !tokenizer.isSpecial(space))
        #expect(tokenizer.id(of: "no such piece") == nil && tokenizer.id(of: "") == nil)
        let llama = try Self.load("llama2")
        let newline = try #require(llama.id(of: "<0x0A>"))
        #expect(llama.bytes(of: newline) == [0x0A])
    }

    @Test func longWordsMergeAsShortOnesDo() throws {
        // Past the length where a heap takes over, the same text in pieces that do not touch gives the same ids.
        let tokenizer = try Self.load("llama2")
        let word = String(repeating: "the anvil ", count: 30)
        let long = tokenizer.encode(String(repeating: word, count: 40), addSpecialTokens: false)
        #expect(tokenizer.decode(long) == String(repeating: word, count: 40))
        let short = tokenizer.encode(word, addSpecialTokens: false)
        #expect(Array(long.prefix(short.count - 1)) == Array(short.dropLast()))
    }

    @Test func manyTasksShareOneTokenizer() async throws {
        let tokenizer = try Self.load("smollm")
        let texts = try TokenizerGolden("smollm").cases
        await withTaskGroup(of: Bool.self) { group in
            for _ in 0..<8 {
                group.addTask { texts.allSatisfy { tokenizer.encode($0.text) == $0.ids } }
            }
            for await isSame in group { #expect(isSame) }
        }
    }

    @Test func canonicallyEquivalentPiecesAreTwo() throws {
        let json: JSON = [
            "model": [
                "type": "WordLevel", "unk_token": "?",
                "vocab": ["?": 0, "\u{212B}": 1, "\u{C5}": 2, "A\u{30A}": 3],
            ]
        ]
        let tokenizer = try Tokenizer(json: json, source: "test")
        #expect(tokenizer.vocabularySize == 4)
        #expect(
            [tokenizer.encode("\u{212B}"), tokenizer.encode("\u{C5}"), tokenizer.encode("A\u{30A}")] == [[1], [2], [3]])
    }

    @Test func configGivesRoles() throws {
        let tokenizer = try Self.load("gpt2")
        #expect(tokenizer.endOfSequence == nil)
        let config: JSON = ["eos_token": ["content": "<|im_end|>"], "bos_token": "<|im_start|>", "pad_token": nil]
        let applied = try tokenizer.applying(config: config)
        #expect(applied.endOfSequence == tokenizer.id(of: "<|im_end|>"))
        #expect(applied.beginOfSequence == tokenizer.id(of: "<|im_start|>") && applied.padding == nil)
        let error = #expect(throws: MoruError.self) { try tokenizer.applying(config: ["eos_token": "</s>"]) }
        #expect(error?.code == .tokenizerMalformed && error?.message.contains("</s>") == true)
        #expect(throws: MoruError.self) { try tokenizer.applying(config: ["eos_token": 3]) }
    }
}
