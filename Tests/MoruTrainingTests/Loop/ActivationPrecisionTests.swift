import MoruModels
import MoruNN
import MoruTestKit
import Testing

@testable import MoruTensor
@testable import MoruTraining

/// Training keeps activations in bf16 where the CPU multiplies in it: the losses must be those of f32 all the same.
@Suite struct ActivationPrecisionTests {
    /// The losses of some steps on one batch, of all parameters or of a low-rank adapter.
    private func losses(_ precision: Precision, adapted: Bool, recomputes: Bool = false) throws -> [Float] {
        let model = try TestModels.tinyLlama(seed: 3)
        let shape = LoRAConfiguration(rank: 4, dropout: 0.1)
        let adapter = adapted ? try LoRAAdapter(shape, adapting: model.linears, seed: 5) : nil
        let parameters = adapter?.parameters ?? model.parameters
        let task = LanguageModelTask(
            model: model, adapter: adapter, training: TokenizedDataset(source: "none", examples: []))
        let examples = (0..<4).map { sequence in
            let tokens = (0..<24).map { Int32(($0 * $0 + 5 * sequence) % 64) }
            return TokenizedExample(tokens: tokens, isTarget: tokens.map { _ in true })
        }
        var optimizer = AdamW(parameters)
        return Runtime.withPrecision(precision) {
            (0..<20).map { step in
                let dropout = DropoutSource(seed: UInt64(step))
                let (loss, gradients) = valueAndGradients(of: parameters) {
                    Runtime.withRecomputation(recomputes) { task.summedLoss(of: examples, dropout: dropout) }
                        * (1 / Float(4 * 23))
                }
                optimizer.update(gradients, learningRate: adapted ? 3e-2 : 3e-3)
                return loss.scalar
            }
        }
    }

    @Test(arguments: [false, true]) func lossesAreThoseOfF32(adapted: Bool) throws {
        let exact = try losses(.f32, adapted: adapted)
        let automatic = try losses(.automatic, adapted: adapted)
        #expect(exact[19] < exact[0] * (adapted ? 0.995 : 0.9), "nothing was learnt: \(exact)")
        for (step, (a, b)) in zip(automatic, exact).enumerated() {
            #expect(abs(a - b) < 0.005 * b, "step \(step): \(a) in bf16, \(b) in f32")
        }
        // The same again is the same bit for bit, whether activations are kept or computed again
        #expect(try losses(.automatic, adapted: adapted) == automatic)
        #expect(try losses(.automatic, adapted: adapted, recomputes: true) == automatic)
        #expect(try losses(.f32, adapted: adapted, recomputes: true) == exact)
    }

    /// The losses of a run over a quantised model are those of products in bf16, but not to the bit, where the CPU is
    /// fast with bytes; over a dense model they are.
    @Test(arguments: [DType.q8_0, nil]) func aRunOverQuantisedWeightsTakesBytes(_ quantization: DType?) throws {
        func losses(_ precision: Precision) throws -> [Double] {
            let folder = try TemporaryFolder()
            var small = SmallRun()
            small.examples = SmallRun.examples(12)
            (small.quantization, small.settings.precision) = (quantization, precision)
            (small.settings.batchSize, small.settings.gradientAccumulation) = (4, 1)
            return try small.run(in: folder.path + "/run").losses
        }
        let (automatic, narrow) = (try losses(.automatic), try losses(.bf16))
        let takesBytes = Runtime.withByteProducts { Runtime.shared.takesBytesForManyRows } && quantization != nil
        #expect((automatic != narrow) == takesBytes)
        for (a, b) in zip(automatic, narrow) { #expect(abs(a - b) < 0.01 * b, "\(a) in bytes, \(b) in bf16") }
    }
}
