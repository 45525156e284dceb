import MoruNN
import MoruTensor
import MoruTestKit
import Testing

/// Parameters that move during the backward pass, against whole steps after it.
@Suite struct BackwardOptimizerTests {
    private static let shapes = ["tied": [6, 5], "first": [5, 5], "second": [5, 5], "scale": [5], "unused": [3]]

    private static func parameters() -> [Parameter] {
        shapes.sorted { $0.key < $1.key }.map { Parameter($0, Deterministic.tensor($0, $1)) }
    }

    /// Two layers between a table's rows and its product; the layers may be computed again.
    private static func loss(_ parameters: [Parameter], recomputes: Bool) -> Tensor {
        let named = Dictionary(uniqueKeysWithValues: parameters.map { ($0.path, $0) })
        func tensor(_ name: String) -> Tensor { named[name]?.tensor ?? .zeros([1]) }
        var x = embedding([0, 3, 5, 3], tensor("tied"))
        for name in ["first", "second"] {
            let layer = { (inputs: [Tensor]) -> [Tensor] in
                let (sum, normalized) = inputs[0].addingAndNormalizing(nil, tensor("scale"), epsilon: 1e-5)
                return [normalized.linear(tensor(name)).activated(by: .silu) + sum]
            }
            x = (recomputes ? recomputed([x], dropout: nil, layer) : layer([x]))[0]
        }
        return linearCrossEntropy(x, tensor("tied"), [1, 2, 3, 4])
    }

    @Test(arguments: OptimizerSettings.Kind.allCases, [false, true])
    func takesTheSameSteps(_ kind: OptimizerSettings.Kind, recomputes: Bool) {
        let settings = OptimizerSettings(kind, weightDecay: 0.1)
        let (reference, moving) = (Self.parameters(), Self.parameters())
        var (whole, during) = (settings.make(reference), settings.make(moving))
        for step in 0..<3 {
            let (loss, gradients) = valueAndGradients(of: reference) { Self.loss(reference, recomputes: recomputes) }
            whole.update(gradients, learningRate: 0.02)
            during.beginStep(learningRate: 0.02)
            var places: [UnsafeRawPointer] = []
            let other = valueAndGradients(of: moving) {
                Self.loss(moving, recomputes: recomputes)
            } whenComplete: { index, gradient in
                let before = moving[index].value.bytes
                during.move(index, against: gradient)
                if step > 0, before != moving[index].value.bytes { places.append(before) }
            }
            #expect(loss.scalar == other.scalar)
            // Nobody else holds a value any more when it moves: the vector is held by what normalises again
            #expect(places.count <= 1, "\(places.count) of \(moving.count) values were copied")
        }
        for (one, other) in zip(reference, moving) {
            expectEqual(one.value, other.value, "\(one.path)")
        }
        #expect(whole.step == 3 && during.step == 3)
        for (one, other) in zip(whole.state, during.state) {
            #expect(one.name == other.name && one.tensor.values() == other.tensor.values(), "\(one.name)")
        }
    }
}
