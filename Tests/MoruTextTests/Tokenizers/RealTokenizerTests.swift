import Foundation
import MoruBase
import MoruText
import Testing

/// The tokenizers of real models, where the models lie in the folder named by MORU_TEST_MODELS.
@Suite struct RealTokenizerTests {
    private static let models = ProcessInfo.processInfo.environment["MORU_TEST_MODELS"] ?? ""
    private static let python = ProcessInfo.processInfo.environment["MORU_TEST_PYTHON"] ?? ""
    private static let smollm2 = "\(models)/SmolLM2-135M-Instruct.Q4_1.gguf"
    private static let minilm = "\(models)/all-MiniLM-L6-v2/tokenizer.json"

    @Test(.enabled(if: FileSystem.exists(minilm)))
    func miniLM() throws {
        try TokenizerGolden("minilm").check(try Tokenizer(file: Self.minilm))
    }

    /// The metadata comes through the golden script, since this target cannot read GGUF.
    @Test(.enabled(if: FileSystem.exists(smollm2) && !python.isEmpty))
    func smolLM2() throws {
        let folder = URL(filePath: #filePath).deletingLastPathComponent()
        let script = folder.appending(path: "../../../scripts/goldens/make_tokenizers.py").standardized.path
        let path = "\(NSTemporaryDirectory())/moru-smollm2-\(UUID().uuidString).json"
        defer { FileSystem.remove(path) }
        let process = Process()
        process.executableURL = URL(filePath: "/usr/bin/env")
        process.arguments = [
            Self.python, script, NSTemporaryDirectory(), "--smollm2", Self.smollm2, "--metadata", path,
        ]
        process.standardOutput = FileHandle.nullDevice
        try process.run()
        process.waitUntilExit()
        try #require(process.terminationStatus == 0)
        let metadata = try GGUFTokenizerTests.metadata(try JSON.parse(file: path))
        let tokenizer = try Tokenizer(metadata: metadata, source: path)
        #expect(tokenizer.vocabularySize == 49152)
        #expect(tokenizer.beginOfSequence == 1 && tokenizer.endOfSequence == 2 && tokenizer.unknown == 0)
        try TokenizerGolden("smollm2").check(tokenizer)
    }
}
