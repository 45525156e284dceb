import Foundation
import MoruNN
import MoruTensor
import MoruTestKit
import Testing

@Suite struct OptimizerTests {
    @Test func warmUpRisesAndCosineFalls() {
        let schedule = LearningRateSchedule(.cosine, peak: 1, warmupSteps: 4, totalSteps: 12, finalShare: 0.1)
        #expect((0..<4).map { schedule.rate(at: $0) } == [0.25, 0.5, 0.75, 1])
        #expect(schedule.rate(at: 4) == 1)
        // Half-way between the warm-up and the end: the mean of the peak and the final rate
        #expect(abs(schedule.rate(at: 8) - 0.55) < 1e-6)
        #expect(abs(schedule.rate(at: 12) - 0.1) < 1e-6 && abs(schedule.rate(at: 99) - 0.1) < 1e-6)
    }

    @Test func linearAndConstant() {
        let linear = LearningRateSchedule(.linear, peak: 2, warmupSteps: 0, totalSteps: 4)
        #expect((0...4).map { linear.rate(at: $0) } == [2, 1.5, 1, 0.5, 0])
        let constant = LearningRateSchedule(.constant, peak: 2, warmupSteps: 0, totalSteps: 4)
        #expect(constant.rate(at: 3) == 2)
    }

    @Test func clippingKeepsDirectionAndBoundsTheNorm() {
        let gradients = [Tensor([3, 0], shape: [2]), Tensor([0, 4], shape: [1, 2])]
        let norm = globalNorm(gradients)
        #expect(norm == 5)
        #expect(abs(Double(clippingScale(norm, maximumNorm: 1)) * norm - 1) < 1e-5)
        #expect(clippingScale(norm, maximumNorm: 6) == 1 && clippingScale(norm, maximumNorm: 0) == 1)
    }

    @Test func onlyMatricesDecay() {
        let (matrix, vector) = (Parameter("w", .ones([2, 2])), Parameter("b", .ones([2])))
        var optimizer = AdamW([matrix, vector], .init(weightDecay: 0.5))
        optimizer.update([.zeros([2, 2]), .zeros([2])], learningRate: 0.1)
        expectClose(matrix.value.values(), [0.95, 0.95, 0.95, 0.95])
        #expect(vector.value.values() == [1, 1])
    }

    @Test func aRestoredOptimizerGoesOnTheSame() {
        func gradient(_ step: Int) -> Tensor { Deterministic.tensor("gradient\(step)", [3, 4]) }
        let reference = Parameter("w", Deterministic.tensor("w", [3, 4]))
        var optimizer = AdamW([reference], .init(weightDecay: 0.1))
        for step in 0..<3 { optimizer.update([gradient(step)], learningRate: 0.01) }
        let other = Parameter("w", reference.value)
        var restored = AdamW([other], .init(weightDecay: 0.1))
        let state = Dictionary(uniqueKeysWithValues: optimizer.state.map { ($0.name, $0.tensor) })
        restored.restore(step: optimizer.step) { state[$0] ?? .zeros([3, 4]) }
        for step in 3..<6 {
            optimizer.update([gradient(step)], learningRate: 0.01)
            restored.update([gradient(step)], learningRate: 0.01)
        }
        #expect(reference.value.values() == other.value.values())
    }
}
