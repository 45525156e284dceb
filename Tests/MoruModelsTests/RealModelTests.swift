import Foundation
import MoruBase
import MoruModels
import MoruTensor
import MoruTestKit
import MoruText
import Testing

/// The real SmolLM2-135M-Instruct in GGUF Q4_1, against transformers with the file's dequantised weights.
@Suite(
    .tags(.golden, .slow), .enabled(if: TestNeeds.python != nil && TestNeeds.smolLM2 != nil), .serialized)
struct RealModelTests {
    private static let text = """
        The harbour was quiet when the last ferry came in. A woman with two heavy bags walked down the ramp, looked at \
        the clock above the ticket office, and smiled: for once the boat had been on time. She had written to her \
        brother that she would arrive at seven, and he had promised to wait for her near the old lighthouse. In 1998, \
        def main(): return 42 was all he knew of programming; today he builds telescopes in Seoul, 서울.
        """

    @Test func logitsLossAndTheSavedDirectoryAgreeWithTransformers() throws {
        let path = try #require(TestNeeds.smolLM2)
        let scratch = try Scratch()
        let loaded = try PretrainedModel.load(path)
        try loaded.save(to: scratch.path + "/saved")
        try FileSystem.write(Self.text.utf8, to: scratch.path + "/text")
        let golden = try Interoperation.run(["smollm2", path, scratch.path + "/saved", scratch.path + "/text"])

        // The tokenizer that Moru wrote gives transformers the ids that Moru has from the GGUF file
        let tokens = loaded.tokenizer.encode(Self.text, addSpecialTokens: false)
        #expect(golden["tokens"]?.ints == tokens.map(Int.init))
        let texts = try #require(golden["source_texts"]?.array).compactMap(\.string)
        #expect(
            golden["texts"]?.array?.map(\.ints)
                == texts.map { loaded.tokenizer.encode($0, addSpecialTokens: false).map(Int.init) })
        let messages = (golden["messages"]?.array ?? []).map {
            ChatMessage(role: $0["role"]?.string ?? "", content: $0["content"]?.string ?? "")
        }
        #expect(golden["prompt"]?.string == (try loaded.prompt(for: messages).text))

        // The same numbers in one pass, from the GGUF file and from the directory
        let model = loaded.model
        let (samples, best, loss) = Runtime.withPrecision(.f32) { () -> ([[Float]], [Int], Double) in
            let logits = model.logits(model.hiddenStates(TokenBatch([tokens])))
            let rows = (0..<tokens.count).map { logits.rows($0..<$0 + 1).values() }
            return (
                [0, 14, 29].map { row in stride(from: 0, to: rows[row].count, by: 97).map { rows[row][$0] } },
                rows.map { row in row.indices.max { row[$0] < row[$1] } ?? 0 }, Self.loss(of: rows, tokens)
            )
        }
        for source in ["gguf", "saved"] {
            let expected = try #require(golden[source])
            for (found, expected) in zip(samples, expected["sample"]?.array ?? []) {
                expectClose(found, expected.floats, absolute: 5e-3, relative: 1e-3, source)
            }
            #expect(expected["best"]?.ints == best, "\(source)")
            let expectedLoss = try #require(expected["loss"]?.double)
            #expect(abs(loss - expectedLoss) < 1e-4, "\(source): \(loss) and \(expectedLoss)")
        }

        // Token by token the products round their inputs to 8 bits, which may cost half a per cent of perplexity
        let stepwise = Self.loss(of: Self.stepwiseLogits(model, tokens), tokens)
        let change = exp(stepwise - loss) - 1
        print("SmolLM2: loss \(loss), token by token \(stepwise): perplexity \(change * 100) % higher")
        #expect(abs(change) < 0.005)
    }

    private static func stepwiseLogits(_ model: any LanguageModel, _ tokens: [Int32]) -> [[Float]] {
        let cache = model.makeCache()
        return tokens.map { token in
            var batch = TokenBatch()
            batch.append([token], cache: cache)
            return model.logits(model.hiddenStates(batch)).values()
        }
    }

    /// The mean negative log-likelihood of each token after the first.
    private static func loss(of rows: [[Float]], _ tokens: [Int32]) -> Double {
        var total = 0.0
        for (row, next) in zip(rows, tokens.dropFirst()) {
            let largest = Double(row.max() ?? 0)
            let sum = row.reduce(0.0) { $0 + exp(Double($1) - largest) }
            total += largest + log(sum) - Double(row[Int(next)])
        }
        return total / Double(tokens.count - 1)
    }
}
