import Foundation
import MoruBase
import MoruModels
import MoruNN
import MoruTensor
import MoruTestKit
import Testing

/// The figures of the table in docs/models.md: how far logits lie from transformers', at most, on tiny models.
///
///     MORU_PRINT_GOLDEN_ERRORS=1 swift test --disable-xctest --filter GoldenErrorTests
@Suite(.enabled(if: ProcessInfo.processInfo.environment["MORU_PRINT_GOLDEN_ERRORS"] != nil)) struct GoldenErrorTests {
    @Test(arguments: ["llama.json", "families.json", "gemma.json", "experts.json", "gpt2.json", "recurrent.json"])
    func largestErrors(file: String) throws {
        let goldens = try Goldens.json(file)
        let tokens = goldens["tokens"]?.ints.map(Int32.init) ?? []
        for (name, golden) in try #require(goldens["models"]?.object).members.map({ ($0.key, $0.value) }) {
            let model = try LanguageModels.build(
                try #require(golden["config"]), source: name, Weights(DeterministicWeights()))
            let logits = Runtime.withPrecision(.f32) { model.logits(model.hiddenStates(TokenBatch([tokens]))) }
            var largest: Float = 0
            for (row, expected) in zip(goldens["rows"]?.ints ?? [], golden["logits"]?.array ?? []) {
                for (a, b) in zip(logits.rows(row..<row + 1).values(), expected.floats) {
                    largest = max(largest, abs(a - b))
                }
            }
            print("golden error", model.facts.architecture, name, largest)
        }
    }
}
