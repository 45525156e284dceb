import MoruBase
import MoruModels
import MoruNN
import MoruTensor
import MoruTestKit
import Testing

/// Activations that are computed again for the backward pass, in every architecture.
@Suite struct RecomputationTests {
    private static let decoders = [
        ("llama.json", "qwen3"), ("experts.json", "mixtral"), ("gemma.json", "gemma3"), ("gpt2.json", "gpt2"),
        ("families.json", "granite"), ("families.json", "olmo2"), ("families.json", "phi3"),
        ("families.json", "pythia"),
    ]

    @Test(arguments: decoders) func gradientsOfLanguageModelsAreTheSame(file: String, variant: String) throws {
        let golden = try LanguageModelGolden(file, variant)
        let model = golden.model
        expectSame(model, golden.tokens) { model.crossEntropy($0, golden.tokens) }
    }

    @Test(arguments: ["bert", "distilbert"]) func gradientsOfEncodersAreTheSame(variant: String) throws {
        let golden = try Goldens.json("encoders.json")
        let model = try Encoders.build(
            try #require(golden["models"]?[variant]?["config"]), source: variant, Weights(DeterministicWeights()))
        expectSame(model, golden["tokens"]?.ints.map(Int32.init) ?? []) { ($0 * $0).sum() }
    }

    /// Every layer reads its rows twice, and the gradients are those of kept activations.
    private func expectSame(_ model: any TextModel, _ tokens: [Int32], _ loss: (Tensor) -> Tensor) {
        let parameters = model.parameters
        func gradients(recomputing: Bool) -> (gradients: [Tensor], rows: [String: Int]) {
            let observer = LinearObserver()
            var batch = TokenBatch([tokens])
            batch.observer = observer
            let result = Runtime.withRecomputation(recomputing) {
                valueAndGradients(of: parameters) { loss(model.hiddenStates(batch)) }
            }
            return (result.gradients, observer.squares.mapValues(\.rows))
        }
        Runtime.withPrecision(.f32) {
            let (kept, again) = (gradients(recomputing: false), gradients(recomputing: true))
            #expect(!kept.rows.isEmpty && again.rows == kept.rows.mapValues { 2 * $0 })
            for (index, parameter) in parameters.enumerated() {
                expectClose(again.gradients[index], kept.gradients[index], parameter.path)
            }
        }
    }
}
