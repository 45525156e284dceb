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
        expectEqual(reference.value, other.value)
    }

    @Test func warmUpStableDecayFallsAtTheEnd() {
        let schedule = LearningRateSchedule(
            .warmupStableDecay, peak: 1, warmupSteps: 2, totalSteps: 10, finalShare: 0.1, decayShare: 0.4)
        #expect((2...6).allSatisfy { schedule.rate(at: $0) == 1 })
        expectClose((7...10).map { schedule.rate(at: $0) }, [0.775, 0.55, 0.325, 0.1])
    }

    @Test func namesDecideTheTreatment() {
        let shapes: [(String, [Int])] = [
            ("model.embed_tokens.weight", [4, 2]), ("model.layers.0.self_attn.q_proj.weight", [2, 2]),
            ("model.layers.0.input_layernorm.weight", [2]), ("model.layers.1.mlp.output.weight", [2, 2]),
            ("model.norm.weight", [2]), ("lm_head.weight", [4, 2]),
        ]
        let parameters = shapes.map { Parameter($0, .zeros($1)) }
        var settings = OptimizerSettings(layerDecay: 0.5)
        var treatments = settings.treatments(of: parameters)
        #expect(treatments.map(\.rateFactor) == [0.25, 0.5, 0.5, 1, 1, 1])
        #expect(treatments.map(\.decays) == [true, true, false, true, false, true])
        #expect(treatments.map(\.isTable) == [true, false, false, false, false, true])
        (settings.decaysEmbeddings, settings.decaysVectors) = (false, true)
        treatments = settings.treatments(of: parameters)
        #expect(treatments.map(\.decays) == [false, true, true, true, true, false])
    }

    @Test func aTableMovesByAdamWUnderMuon() {
        let (table, map) = (Parameter("embed_tokens.weight", .ones([3, 2])), Parameter("layers.0.w", .ones([3, 2])))
        var muon = OptimizerSettings(.muon).make([table, map])
        muon.update([.ones([3, 2]), .ones([3, 2])], learningRate: 0.1)
        #expect(
            muon.state.map(\.name) == [
                "embed_tokens.weight.first_moment", "embed_tokens.weight.second_moment", "layers.0.w.momentum",
            ])
        expectClose(table.value.values(), Array(repeating: 0.9, count: 6))
    }

    @Test func theAverageForgetsItsStart() {
        let parameter = Parameter("w", .zeros([2]))
        var average = WeightAverage([parameter], decay: 0.9)
        parameter.value = .ones([2])
        for _ in 0..<60 { average.update() }
        average.whileInPlace { expectClose(parameter.value.values(), [1, 1], absolute: 0.01) }
        #expect(parameter.value.values() == [1, 1])
        // the first step keeps 2/11 of what was there
        var first = WeightAverage([Parameter("w", .zeros([1]))], decay: 0.9)
        first.parameters[0].value = .ones([1])
        first.update()
        expectClose(first.state[0].tensor.values(), [9.0 / 11])
    }

    /// Singular values between 0.7 and 1.2, whatever they were, for wide and tall matrices.
    @Test(arguments: [[6, 20], [20, 6], [8, 8]]) func orthogonalizedMatricesTurnAndHardlyStretch(shape: [Int]) {
        let matrix = Deterministic.tensor("matrix", shape)
        let result = Runtime.withPrecision(.f32) { matrix.orthogonalized() }
        let isTall = shape[0] > shape[1]
        let gram = isTall ? result.transposed().matmul(result) : result.matmul(result.transposed())
        let size = gram.shape[0]
        let values = gram.values()
        // the trace is the sum of the squared singular values
        let trace = (0..<size).reduce(0) { $0 + values[$1 * size + $1] }
        #expect(0.5 * Float(size)...1.5 * Float(size) ~= trace, "\(trace) of \(size)")
        #expect(result.shape == shape)
    }
}
