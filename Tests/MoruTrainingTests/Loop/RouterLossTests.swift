import MoruBase
import MoruModels
import MoruNN
import MoruTensor
import MoruTestKit
import Testing

@testable import MoruTraining

/// What training adds to the loss of a mixture of experts.
@Suite struct RouterLossTests {
    private func task(_ usesLoss: Bool) throws -> LanguageModelTask {
        var configuration = TestModels.tinyMixtureConfiguration.object ?? JSONObject()
        configuration["output_router_logits"] = .bool(usesLoss)
        configuration["router_aux_loss_coef"] = 0.5
        let model = try TestModels.tinyLlama(seed: 1, configuration: .object(configuration))
        return LanguageModelTask(
            model: model, adapter: nil, training: TokenizedDataset(source: "made up", examples: []))
    }

    private let examples = [
        TokenizedExample(tokens: [1, 2, 3, 4, 5], isTarget: [false, true, false, true, true]),
        TokenizedExample(tokens: [9, 8, 7], isTarget: [false, true, true]),
    ]

    @Test func theConfiguredShareIsAddedForEachTargetWhileGradientsAreComputed() throws {
        try Runtime.withPrecision(.f32) {
            let (plain, balanced) = (try task(false), try task(true))
            #expect(plain.model.routerLoss == nil && balanced.model.routerLoss?.weight == 0.5)
            let record = RoutingRecord()
            var batch = TokenBatch(examples.map(\.inputs).map(Array.init))
            batch.routing = record
            _ = balanced.model.hiddenStates(batch)
            let balance = try #require(balanced.model.routerLoss?(record)).scalar
            #expect(balance > 0.5)
            func losses(_ task: LanguageModelTask) -> (trained: Float, gradients: [Tensor], measured: Float) {
                let (loss, gradients) = valueAndGradients(of: task.model.parameters) { task.summedLoss(of: examples) }
                return (loss.scalar, gradients, task.summedLoss(of: examples).scalar)
            }
            let (a, b) = (losses(plain), losses(balanced))
            #expect(a.measured == b.measured && a.trained == a.measured)
            expectClose([b.trained], [a.trained + 5 * balance])
            let routers = plain.model.parameters.indices.filter {
                plain.model.parameters[$0].path.hasSuffix("mlp.gate.weight")
            }
            #expect(routers.count == 2)
            for index in routers { #expect(a.gradients[index].values() != b.gradients[index].values()) }
        }
    }
}
