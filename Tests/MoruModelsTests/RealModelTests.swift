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

        // Token by token the products round their inputs to 8 bits, as in one pass with that precision
        let stepwise = Self.stepwiseLogits(model, Array(tokens.prefix(24)))
        let together = Runtime.withPrecision(.int8) {
            model.logits(model.hiddenStates(TokenBatch([Array(tokens.prefix(24))])))
        }
        expectEqual(stepwise.flatMap { $0 }, together.values())
    }

    /// Rounding to bf16 or 8 bits changes each token's loss a little, either way. What it costs on the whole is bounded as
    /// far as some thousand tokens can show it: by half a per cent and two standard errors.
    @Test(arguments: [(Precision.automatic, 0.02), (.int8, 0.09)])
    func roundingCostsLittlePerplexity(precision: Precision, each: Double) throws {
        let loaded = try PretrainedModel.load(try #require(TestNeeds.smolLM2))
        let tokens = loaded.tokenizer.encode(SampleText.prose, addSpecialTokens: false)
        #expect(tokens.count >= 1536)
        var changes: [Double] = []
        for start in stride(from: 0, to: 1536, by: 384) {
            let part = Array(tokens[start..<start + 384])
            func losses(_ precision: Precision) -> [Float] {
                Runtime.withPrecision(precision) {
                    let logits = loaded.model.logits(loaded.model.hiddenStates(TokenBatch([part])))
                    return (0..<part.count - 1).map { row in
                        logits.rows(row..<row + 1).crossEntropy([part[row + 1]]).scalar
                    }
                }
            }
            changes += zip(losses(precision), losses(.f32)).map { Double($0 - $1) }
        }
        let mean = changes.reduce(0, +) / Double(changes.count)
        let squares = changes.reduce(0) { $0 + ($1 - mean) * ($1 - mean) }
        let error = squares.squareRoot() / Double(changes.count)
        let typical = changes.reduce(0) { $0 + abs($1) } / Double(changes.count)
        let percent = (exp(mean) - 1) * 100
        print("SmolLM2, \(precision): perplexity \(percent) % higher, +- \(error * 100); a token \(typical)")
        #expect(exp(abs(mean) - 2 * error) < 1.005)
        #expect(typical < each)
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
