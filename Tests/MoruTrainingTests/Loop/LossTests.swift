import Foundation
import MoruBase
import MoruModels
import MoruNN
import MoruTensor
import MoruTestKit
import Testing

@testable import MoruTraining

@Suite
struct LossTests {
    /// The gradient of the whole model's loss, at elements of LoRA matrices of both kinds in both layers.
    @Test(arguments: [0, 1, 2, 3])
    func gradientAgreesWithDifferences(position: Int) throws {
        try Runtime.withPrecision(.f32) {
            let model = try TestModels.tinyLlama()
            let targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
            let adapter = try LoRAAdapter(
                LoRAConfiguration(rank: 2, alpha: 4, targets: targets), adapting: model.linears, seed: 1)
            for pair in adapter.pairs.values { pair.b.value = Deterministic.tensor(pair.b.path, pair.b.value.shape) }
            let task = LanguageModelTask(
                model: model, adapter: adapter,
                training: TokenizedDataset(source: "made up", examples: SmallRun.examples(3)))
            func loss() -> Tensor { task.summedLoss(of: [0, 1, 2], in: .training, dropout: nil) * 0.1 }
            let gradients = valueAndGradients(of: adapter.parameters) { loss() }.gradients
            for (parameter, gradient) in zip(adapter.parameters, gradients) where gradient.count > 0 {
                let index = (position * 29 + 3) % gradient.count
                let start = parameter.value
                func lossWhenMoved(by delta: Float) -> Float {
                    var values = start.values()
                    values[index] += delta
                    parameter.value = Tensor(values, shape: start.shape)
                    defer { parameter.value = start }
                    return loss().scalar
                }
                let numeric = (lossWhenMoved(by: 1e-2) - lossWhenMoved(by: -1e-2)) / 2e-2
                expectClose(
                    [gradient.values()[index]], [numeric], absolute: 2e-3, relative: 3e-2, "\(parameter.path)[\(index)]"
                )
            }
        }
    }

    /// Only the targets count, each predicted from what comes before it in its own example.
    @Test func sumsOverTargetsOnly() throws {
        try Runtime.withPrecision(.f32) {
            let model = try TestModels.tinyLlama()
            let task = LanguageModelTask(
                model: model, adapter: nil, training: TokenizedDataset(source: "made up", examples: []))
            let examples = SmallRun.examples(4)
            let expected = examples.reduce(Float(0)) { sum, example in
                let logits = model.logits(model.hiddenStates(TokenBatch([example.tokens])))
                return example.tokens.indices.filter { example.isTarget[$0] }.reduce(sum) { sum, position in
                    let probabilities = logits.rows(position - 1..<position).softmax().values()
                    return sum - log(probabilities[Int(example.tokens[position])])
                }
            }
            expectClose([task.summedLoss(of: examples).scalar], [expected], absolute: 1e-4, relative: 1e-5)
        }
    }

    /// What follows the last target changes nothing, and what comes before the first target does.
    @Test func readsNoFurtherThanTheLastTarget() throws {
        let model = try TestModels.tinyLlama()
        let task = LanguageModelTask(
            model: model, adapter: nil, training: TokenizedDataset(source: "made up", examples: []))
        let flags = [false, false, true, true, false, false]
        func loss(_ tokens: [Int32]) -> Float {
            task.summedLoss(of: [TokenizedExample(tokens: tokens, isTarget: flags)]).scalar
        }
        #expect(loss([1, 2, 3, 4, 5, 6]) == loss([1, 2, 3, 4, 50, 60]))
        #expect(loss([1, 2, 3, 4, 5, 6]) != loss([9, 2, 3, 4, 5, 6]))
    }

    /// Training on a quantised base is training on the weights that it stands for.
    @Test(arguments: [DType.q8_0, .q4_1, .bf16])
    func quantisedBaseTrainsLikeItsValues(dtype: DType) throws {
        var losses: [[Double]] = []
        for source in [StoredWeights(dtype: dtype, isExpanded: false), StoredWeights(dtype: dtype, isExpanded: true)] {
            var configuration = TestModels.tinyLlamaConfiguration.object ?? JSONObject()
            configuration["intermediate_size"] = 64
            let model = try LanguageModels.build(.object(configuration), source: "tiny", Weights(source))
            let adapter = try LoRAAdapter(LoRAConfiguration(rank: 4), adapting: model.linears, seed: 3)
            let task = LanguageModelTask(
                model: model, adapter: adapter,
                training: TokenizedDataset(source: "made up", examples: SmallRun.examples(6)))
            var settings = SmallRun().settings
            settings.length = .steps(6)
            // A few rows take a kernel that rounds what a quantised weight is multiplied with
            settings.batchSize = 6
            let folder = try TemporaryFolder()
            var run: [TrainingEvent] = []
            try Trainer(task: task, method: AdapterMethod(adapter: adapter, baseModel: "tiny"), settings: settings)
                .run(in: folder.path + "/run") { run.append($0) }
            losses.append(run.losses)
        }
        #expect(losses[0].count == 6)
        #expect(losses[0][5] != losses[0][0])
        expectClose(losses[0].map { Float($0) }, losses[1].map { Float($0) }, absolute: 1e-4, relative: 1e-4)
    }
}

/// Deterministic weights as a format stores them, kept so or expanded to f32.
private struct StoredWeights: WeightSource {
    let dtype: DType
    let isExpanded: Bool

    func contains(_ path: String) -> Bool { true }

    func weight(_ path: String, shape: [Int], _ initialization: Initialization) -> Tensor {
        let tensor = DeterministicWeights().weight(path, shape: shape, initialization)
        guard shape.count > 1 else { return tensor }
        let stored = tensor.converted(to: dtype)
        return isExpanded ? stored.converted(to: .f32) : stored
    }
}
