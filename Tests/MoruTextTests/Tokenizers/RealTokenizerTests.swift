import Foundation
import MoruBase
import MoruTestKit
import MoruText
import Testing

/// The tokenizers of real models, where the models lie in the folder named by MORU_TEST_MODELS.
@Suite struct RealTokenizerTests {
    @Test(.enabled(if: TestNeeds.miniLM != nil))
    func miniLM() throws {
        try TokenizerGolden("minilm").check(try Tokenizer(file: #require(TestNeeds.miniLM) + "/tokenizer.json"))
    }

    /// The metadata comes through the golden script, since this target cannot read GGUF.
    @Test(.enabled(if: TestNeeds.smolLM2 != nil && TestNeeds.python != nil))
    func smolLM2() throws {
        let path = TestNeeds.temporaryPath("smollm2.json")
        defer { FileSystem.remove(path) }
        let model = try #require(TestNeeds.smolLM2)
        try Goldens.run("make_tokenizers.py", [NSTemporaryDirectory(), "--smollm2", model, "--metadata", path])
        let metadata = try GGUFTokenizerTests.metadata(try JSON.parse(file: path))
        let tokenizer = try Tokenizer(metadata: metadata, source: path)
        #expect(tokenizer.vocabularySize == 49152)
        #expect(tokenizer.beginOfSequence == 1 && tokenizer.endOfSequence == 2 && tokenizer.unknown == 0)
        try TokenizerGolden("smollm2").check(tokenizer)
    }
}
