import Foundation
import MoruBase
import MoruModels
import MoruTensor
import MoruTestKit
import Testing

/// The real all-MiniLM-L6-v2 against transformers.
@Suite(.tags(.golden, .slow), .enabled(if: TestNeeds.python != nil && TestNeeds.miniLM != nil))
struct RealEncoderTests {
    private static let texts =
        [
            "The harbour was quiet when the last ferry came in.", "Wo ist der Bahnhof?", "서울의 날씨는 어때요?",
            "def main(): return 42", "a", "🚢",
        ] + (1...8).map { Array(repeating: "numbers \($0) and words", count: 5 * $0).joined(separator: ", ") }

    private static let program = """
        import json, sys, torch
        from transformers import AutoModel, AutoTokenizer
        tokenizer, model = AutoTokenizer.from_pretrained(sys.argv[1]), AutoModel.from_pretrained(sys.argv[1]).eval()
        result = []
        with torch.no_grad():
            for text in json.loads(sys.argv[2]):
                states = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
                result.append(torch.nn.functional.normalize(states.mean(0), dim=0).tolist())
        print(json.dumps(result))
        """

    @Test func embeddingsAgreeWithTransformers() throws {
        let path = try #require(TestNeeds.miniLM)
        let embedder = try TextEmbedder.load(path)
        #expect(embedder.isModelsOwn && embedder.dimensions == 384 && embedder.maximumTokens == 256)
        let texts = JSON.array(Self.texts.map { .string($0) }).text()
        let printed = try TestNeeds.runPython(Self.program, arguments: [path, texts])
        let expected = try #require(try JSON.parse(printed, source: "transformers").array).map(\.floats)
        for (precision, least) in [(Precision.f32, 0.999_999), (.automatic, 0.9999), (.int8, 0.995)] {
            let found = try Runtime.withPrecision(precision) { try embedder.embed(Self.texts) }
            for (index, expected) in expected.enumerated() {
                let vector = found.vectors.rows(index..<index + 1).values()
                let cosine = zip(vector, expected).reduce(0.0) { $0 + Double($1.0) * Double($1.1) }
                #expect(cosine > least, "\(precision), text \(index): \(cosine)")
            }
        }
    }
}
