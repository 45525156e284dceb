import Foundation
import MoruBase
import MoruText
import Testing

/// What the Rust `tokenizers` library gives, written by `scripts/goldens/make_tokenizers.py`.
struct TokenizerGolden {
    /// What is expected of one text of the corpus.
    struct Case {
        let text: String
        let ids: [Int32]
        let plain: [Int32]
        let unparsed: [Int32]
        let decoded: String
        let visible: String
    }

    static let folder = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .appending(path: "Goldens/tokenizers").path

    let cases: [Case]

    init(_ name: String) throws {
        let corpus = try JSON.parse(file: "\(Self.folder)/corpus.json")
        let expected = try JSON.parse(file: "\(Self.folder)/\(name).expected.json")
        let texts = try #require(corpus.array)
        let entries = try #require(expected.array)
        try #require(texts.count == entries.count && texts.count > 100)
        cases = try zip(texts, entries).map { text, entry in
            func ids(_ key: String) -> [Int32]? { entry[key]?.array?.compactMap { $0.int.map(Int32.init) } }
            let all = try #require(ids("ids"))
            let plain = ids("plain") ?? all
            return Case(
                text: try #require(text.string), ids: all, plain: plain, unparsed: ids("unparsed") ?? plain,
                decoded: try #require(entry["text"]?.string), visible: try #require(entry["visible"]?.string))
        }
    }

    /// Checks ids and texts of every case, and that a stream gives the text piece by piece.
    func check(_ tokenizer: Tokenizer) {
        for each in cases {
            #expect(tokenizer.encode(each.text) == each.ids, "ids of \(each.text.debugDescription)")
            #expect(
                tokenizer.encode(each.text, addSpecialTokens: false) == each.plain,
                "plain ids of \(each.text.debugDescription)")
            #expect(
                tokenizer.encode(each.text, addSpecialTokens: false, parseSpecial: false) == each.unparsed,
                "ids of \(each.text.debugDescription), special tokens not parsed")
            let decoded = tokenizer.decode(each.ids)
            #expect(
                decoded.utf8.elementsEqual(each.decoded.utf8),
                "text \(decoded.debugDescription), expected \(each.decoded.debugDescription)")
            let visible = tokenizer.decode(each.ids, skipSpecialTokens: true)
            #expect(
                visible.utf8.elementsEqual(each.visible.utf8),
                "visible text \(visible.debugDescription), expected \(each.visible.debugDescription)")
        }
    }
}

@Suite struct TokenizerGoldenTests {
    @Test(arguments: [
        "gpt2", "smollm", "llama3", "qwen2", "cl100k", "o200k", "deepseek", "roberta", "added-tokens", "llama2",
        "mistral", "gemma", "t5", "unigram-bytes", "precompiled", "bert", "bert-cased", "word-level", "openai-gpt",
        "continuing-prefix", "behaviors",
    ])
    func givesTheIDsOfTheReference(name: String) throws {
        let tokenizer = try Tokenizer(file: "\(TokenizerGolden.folder)/\(name).tokenizer.json")
        try TokenizerGolden(name).check(tokenizer)
    }
}
