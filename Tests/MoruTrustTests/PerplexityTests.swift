import Foundation
import MoruBase
import MoruModels
import MoruNN
import MoruTensor
import MoruTestKit
import MoruTraining
import MoruTrust
import Testing

@Suite struct PerplexityTests {
    /// Examples of several lengths; the targets lie at the end, in the middle, or nowhere.
    private static let examples = [
        TokenizedExample(tokens: [10, 200, 30, 40, 50], isTarget: [false, false, false, true, true]),
        TokenizedExample(tokens: [7, 8, 9, 65, 66, 67, 68, 258], isTarget: Array(repeating: true, count: 8)),
        TokenizedExample(tokens: [1, 2, 3], isTarget: [false, false, false]),
        TokenizedExample(
            tokens: (0..<40).map { Int32($0 * 6) }, isTarget: (0..<40).map { (10..<14).contains($0) || $0 == 30 }),
        TokenizedExample(tokens: [97, 98], isTarget: [false, true]),
    ]

    /// The sum of -log softmax(logits)[target], one example at a time, in doubles.
    private func reference(_ model: any LanguageModel, _ adapter: LoRAAdapter?) -> (sum: Double, tokens: Int) {
        var (sum, tokens) = (0.0, 0)
        for example in Self.examples {
            let logits = model.logits(model.hiddenStates(TokenBatch([example.tokens], adapter: adapter))).values()
            let width = model.facts.vocabularySize
            for index in example.tokens.indices where example.isTarget[index] {
                let row = logits[(index - 1) * width..<index * width].map(Double.init)
                let top = row.max() ?? 0
                let total = row.reduce(0) { $0 + exp($1 - top) }
                sum += log(total) + top - row[Int(example.tokens[index])]
                tokens += 1
            }
        }
        return (sum, tokens)
    }

    @Test("is exp of the mean negative log-likelihood of the targets' logits", arguments: [false, true])
    func agreesWithPlainLogits(isAdapted: Bool) throws {
        let model = try TestModels.tinyPretrained(seed: nil).model
        let adapter = isAdapted ? try TrustFixtures.adapter(for: model) : nil
        try Runtime.withPrecision(.f32) {
            let (sum, tokens) = reference(model, adapter)
            let found = try Perplexity(of: model, adapter: adapter, on: Self.examples)
            #expect(found.tokens == tokens && tokens == 2 + 7 + 5 + 1)
            #expect(abs(found.negativeLogLikelihood - sum) < 1e-4 * sum)
            #expect(abs(found.value - exp(sum / Double(tokens))) < 1e-3 * found.value)
        }
    }

    @Test func anAdapterChangesIt() throws {
        let model = try TestModels.tinyPretrained(seed: nil).model
        let plain = try Perplexity(of: model, adapter: nil, on: Self.examples)
        let adapted = try Perplexity(of: model, adapter: try TrustFixtures.adapter(for: model), on: Self.examples)
        #expect(abs(plain.value - adapted.value) > 1e-2)
    }

    @Test("does not depend on how many tokens go at a time", arguments: [0, 1, 8, 20, 100_000])
    func tokensAtATime(count: Int) throws {
        let model = try TestModels.tinyPretrained(seed: nil).model
        try Runtime.withPrecision(.f32) {
            let (sum, tokens) = reference(model, nil)
            let found = try Perplexity(of: model, adapter: nil, on: Self.examples, tokensAtATime: count)
            #expect(found.tokens == tokens && abs(found.negativeLogLikelihood - sum) < 1e-4 * sum)
        }
    }

    @Test("a model that knows nothing is as perplexed as its vocabulary is large")
    func uniform() throws {
        let model = ScriptedModel(vocabularySize: 259) { _, _ in [Float](repeating: 0.5, count: 259) }
        let found = try Perplexity(of: model, adapter: nil, on: Self.examples)
        #expect(abs(found.value - 259) < 1e-2)
    }

    @Test func withoutTargetsThereIsNone() throws {
        let model = try TestModels.tinyPretrained().model
        let found = try Perplexity(of: model, adapter: nil, on: [Self.examples[2]])
        #expect(found.tokens == 0 && found.value.isNaN)
    }

    @Test func anExampleOverTheContextIsRefused() throws {
        let model = try TestModels.tinyPretrained(contextLength: 39).model
        let error = try #require(throws: MoruError.self) {
            _ = try Perplexity(of: model, adapter: nil, on: Self.examples)
        }
        #expect(error.code == .dataTooLong && error.message.contains("example 4 has 40 tokens"), "\(error)")
        #expect(error.remedy != nil)
    }

    @Test func weightsThatAreNotFiniteAreNamed() throws {
        let model = ScriptedModel(vocabularySize: 259) { token, _ in
            [Float](repeating: token == 40 ? .nan : 0, count: 259)
        }
        let error = try #require(throws: MoruError.self) {
            _ = try Perplexity(of: model, adapter: nil, on: Self.examples)
        }
        #expect(error.code == .weightsNotFinite && error.remedy != nil)
    }
}
