import Foundation
import MoruModels
import MoruTensor
import MoruTestKit
import MoruTrust
import Testing

/// What another form of a model loses.
@Suite struct ModelDifferenceTests {
    private let windows: [[Int32]] = [[1, 5, 9, 2, 7, 30, 12], [3, 3, 4]]

    @Test func aModelLosesNothingAgainstItself() throws {
        let model = try TestModels.tinyLlama()
        let found = try ModelDifference(of: model, from: model, on: windows)
        #expect(found.tokens == 8 && found.divergence < 1e-12 && found.topAgreement == 1)
        #expect(found.perplexity == found.referencePerplexity)
    }

    @Test func figuresAreThoseOfTheirDefinitions() throws {
        let (reference, other) = (try TestModels.tinyLlama(), try TestModels.tinyLlama(seed: 3))
        let found = try ModelDifference(of: other, from: reference, on: windows)
        var (divergence, loss, agreements, count) = (0.0, 0.0, 0, 0)
        for window in windows {
            func probabilities(_ model: any LanguageModel) -> [[Double]] {
                Runtime.withPrecision(.f32) {
                    let logits = model.logits(model.hiddenStates(TokenBatch([window])))
                    return (0..<window.count - 1).map { row in
                        let values = logits.rows(row..<row + 1).values().map { exp(Double($0)) }
                        return values.map { $0 / values.reduce(0, +) }
                    }
                }
            }
            for (row, (p, q)) in zip(probabilities(reference), probabilities(other)).enumerated() {
                divergence += zip(p, q).reduce(0) { $0 + $1.0 * log($1.0 / $1.1) }
                loss -= log(q[Int(window[row + 1])])
                agreements += p.firstIndex(of: p.max() ?? 0) == q.firstIndex(of: q.max() ?? 0) ? 1 : 0
                count += 1
            }
        }
        #expect(abs(found.divergence - divergence / Double(count)) < 1e-5)
        #expect(abs(found.perplexity - exp(loss / Double(count))) < 1e-3)
        #expect(found.topAgreement == Double(agreements) / Double(count))
    }
}
