import Foundation
import MoruBase
import MoruText
import Testing

/// A tokenizer written as tokenizer.json and read again gives what the reference gives.
@Suite struct TokenizerExportTests {
    @Test(arguments: [
        "gpt2", "smollm", "llama3", "qwen2", "roberta", "added-tokens", "llama2", "mistral", "gemma", "openai-gpt",
        "continuing-prefix", "o200k",
    ])
    func whatIsWrittenGivesTheIDsOfTheReference(name: String) throws {
        let original = try Tokenizer(file: "\(TokenizerGolden.folder)/\(name).tokenizer.json")
        let text = try original.fileJSON(source: name).text()
        let again = try Tokenizer(json: try JSON.parse(text, source: name), source: name)
        #expect(again.vocabularySize == original.vocabularySize)
        try TokenizerGolden(name).check(again)
    }

    @Test(arguments: ["bert", "t5", "unigram-bytes", "word-level", "precompiled"])
    func whatCannotBeWrittenIsRefused(name: String) throws {
        let original = try Tokenizer(file: "\(TokenizerGolden.folder)/\(name).tokenizer.json")
        let error = #expect(throws: MoruError.self) { try original.fileJSON(source: "model.gguf") }
        #expect(error?.code == .tokenizerUnsupported && error?.remedy != nil)
        #expect(error?.message.hasPrefix("model.gguf: ") == true)
    }

    @Test func rolesAreWritten() throws {
        var tokenizer = try Tokenizer(file: "\(TokenizerGolden.folder)/llama2.tokenizer.json")
        (tokenizer.beginOfSequence, tokenizer.endOfSequence, tokenizer.padding) = (1, 2, nil)
        let config = tokenizer.configurationJSON
        #expect(config["bos_token"] == "<s>" && config["eos_token"] == "</s>" && config["pad_token"] == nil)
    }
}
