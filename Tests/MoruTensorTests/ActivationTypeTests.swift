import MoruTestKit
import Testing

@testable import MoruTensor

/// Operations that take activations in bf16, and those that promote them.
@Suite struct ActivationTypeTests {
    private let x = Deterministic.tensor("x", [24, 64], scale: 2)
    private let delta = Deterministic.tensor("delta", [24, 64])
    private let w = Deterministic.tensor("w", [64])

    /// bf16 keeps 8 bits.
    private func expectNear(_ actual: Tensor, _ expected: Tensor, _ share: Float = 0.02) {
        let (a, b) = (actual.values(), expected.values())
        let largest = b.reduce(0) { max($0, abs($1)) }
        #expect(zip(a, b).allSatisfy { abs($0 - $1) <= share * largest }, "\(actual) is not near \(expected)")
    }

    @Test func theResidualStreamIsASumAndANorm() {
        func run(_ fused: Bool) -> (value: Tensor, gradients: [Tensor]) {
            valueAndGradients(at: [x, delta, w]) { leaves in
                let sum: Tensor, y: Tensor
                if fused {
                    (sum, y) = leaves[0].addingAndNormalizing(leaves[1], leaves[2], epsilon: 1e-5)
                } else {
                    sum = leaves[0] + leaves[1]
                    y = sum.rmsNorm(leaves[2], epsilon: 1e-5)
                }
                return (y * y * sum).sum()
            }
        }
        let (fused, separate) = (run(true), run(false))
        expectClose(fused.value, separate.value)
        for (a, b) in zip(fused.gradients, separate.gradients) { expectClose(a, b) }
        let alone = valueAndGradients(at: [x]) { $0[0].addingAndNormalizing(nil, w, epsilon: 1e-5).sum.sum() }
        #expect(alone.gradients[0].values().allSatisfy { $0 == 1 })
    }

    /// What is computed again for gradients instead of being kept is the same to the bit.
    @Test(arguments: [DType.f32, .bf16]) func aStreamOfManyStepsKeepsLittle(_ type: DType) {
        let names = ["first", "second", "third", "fourth"]
        let inputs = [x, w] + names.map { Deterministic.tensor($0, [64, 64]) }
        func run(keepsAll: Bool) -> [[Float]] {
            let (value, gradients) = valueAndGradients(at: inputs) { leaves in
                // A tensor of another node is kept as it is
                func kept(_ x: Tensor) -> Tensor { keepsAll ? x.reshaped(x.shape) : x }
                var (sum, delta) = (leaves[0], Tensor?.none)
                for (number, matrix) in leaves.dropFirst(2).enumerated() {
                    let step = kept(sum).addingAndNormalizing(delta, leaves[1], epsilon: 1e-5, as: type)
                    // Every other sum comes again from the one before, if what was added to that takes less memory
                    let keepsSum = keepsAll || number % 2 == 0 || type == .f32
                    #expect(step.sum.node?.isKept == keepsSum && step.normalized.node?.again != nil)
                    (sum, delta) = (step.sum, kept(step.normalized).linear([matrix, matrix])[0])
                }
                return (sum + (delta ?? sum)).sum()
            }
            return [value.values()] + gradients.map { $0.values() }
        }
        #expect(run(keepsAll: true) == run(keepsAll: false))
    }

    @Test func aLayerInBF16IsNearTheSameInF32() {
        let (gate, up) = (Deterministic.tensor("gate", [96, 64]), Deterministic.tensor("up", [96, 64]))
        let down = Deterministic.tensor("down", [64, 96])
        func run(_ type: DType) -> (value: Tensor, gradients: [Tensor]) {
            valueAndGradients(at: [x, gate, up, down]) { leaves in
                let y = leaves[0].addingAndNormalizing(nil, w, epsilon: 1e-5, as: type).normalized
                let parts = y.linear([leaves[1], leaves[2]])
                let out = swiglu(gate: parts[0], up: parts[1]).linear(leaves[3])
                #expect(y.dtype == type && out.dtype == type)
                return (out + leaves[0]).sum()
            }
        }
        let (narrow, wide) = (run(.bf16), run(.f32))
        expectNear(narrow.value, wide.value)
        for (a, b) in zip(narrow.gradients, wide.gradients) {
            #expect(a.dtype == .f32)
            expectNear(a, b)
        }
    }

    @Test(arguments: [DType.f32, .bf16], [Activation.silu, .gelu, .geluTanh, .relu])
    func aGatedLayerIsItsTwoOperationsToTheBit(_ type: DType, _ function: Activation) {
        let inputs = [("gate", [30, 70]), ("up", [30, 70]), ("down", [50, 70])].map {
            Deterministic.tensor($0.0, $0.1, scale: 2)
        }
        func run(fused: Bool) -> [[Float]] {
            let (value, gradients) = valueAndGradients(at: inputs) { leaves in
                let (gate, up) = (leaves[0].cast(to: type), leaves[1].cast(to: type))
                let y =
                    fused
                    ? gatedLinear(gate: gate, up: up, by: function, leaves[2])
                    : gated(gate: gate, up: up, by: function).linear(leaves[2])
                return (y.cast(to: .f32) * y.cast(to: .f32)).sum()
            }
            return [value.values()] + gradients.map { $0.values() }
        }
        #expect(run(fused: true) == run(fused: false))
    }

    @Test func attentionInBF16IsNearTheSameInF32() {
        let q = Deterministic.tensor("q", [20, 4, 32]), k = Deterministic.tensor("k", [20, 2, 32])
        let v = Deterministic.tensor("v", [20, 2, 32])
        let angles = RotaryAngles(
            positions: Array(0..<12) + Array(0..<8), inverseFrequencies: (0..<16).map { 1 / Double(1 + $0) })
        func run(_ type: DType) -> (value: Tensor, gradients: [Tensor]) {
            valueAndGradients(at: [q, k, v]) { leaves in
                let parts = leaves.map { $0.cast(to: type) }
                let out = scaledDotProductAttention(
                    q: parts[0].rope(angles), k: parts[1].rope(angles), v: parts[2], segments: [0..<12, 12..<20],
                    AttentionOptions(scale: 0.2))
                #expect(out.dtype == type)
                return (out * q).sum()
            }
        }
        let (narrow, wide) = (run(.bf16), run(.f32))
        for (a, b) in zip(narrow.gradients, wide.gradients) { expectNear(a, b, 0.03) }
    }

    @Test func arithmeticPromotes() {
        let narrow = x.converted(to: .bf16)
        let wide = narrow.converted(to: .f32)
        expectEqual(narrow + wide, wide + wide)
        #expect(Tensor.concatenated([narrow, wide]).dtype == .f32)
        expectEqual(narrow.rmsNorm(w, epsilon: 1e-5), wide.rmsNorm(w, epsilon: 1e-5))
        let (_, gradients) = valueAndGradients(at: [x]) { ($0[0].cast(to: .bf16) * 3).sum() }
        #expect(gradients[0].values().allSatisfy { $0 == 3 })
    }

    @Test func partsOfAGradientAreAdded() {
        let (_, gradients) = valueAndGradients(at: [Tensor([1, 2, 3, 4, 5, 6], shape: [3, 2])]) { leaves in
            let picked = leaves[0].gatheringRows([2, 0, 2]) * 10
            return leaves[0].rows(1..<3).sum() + picked.sum() + (leaves[0] * leaves[0]).sum()
        }
        #expect(gradients[0].values() == [12, 14, 7, 9, 31, 33])
    }

    /// Where a product is far deeper than it is wide, its panels are cut across the depth.
    @Test func aDeepProductIsTheSameEitherWayRound() {
        let (a, b) = (Deterministic.tensor("a", [131, 1 << 13]), Deterministic.tensor("b", [600, 1 << 13]))
        let backend = Runtime.shared.backend
        for addend in [nil, Deterministic.tensor("c", [131, 600])] {
            let deep = backend.matmul(
                a, transposeA: false, b.transposed(), transposeB: false, alpha: 0.5, adding: addend)
            let wide = backend.matmul(a, transposeA: false, b, transposeB: true, alpha: 0.5, adding: addend)
            expectNear(deep, wide, 1e-4)
        }
    }

    /// The last panel of a product may be so narrow that its kernel packs nothing.
    @Test func aProductMayEndInANarrowPanel() {
        let (a, b) = (Deterministic.tensor("a", [131, 1 << 13]), Deterministic.tensor("b", [517, 1 << 13]))
        let backend = Runtime.shared.backend
        let whole = backend.matmul(a, transposeA: false, b, transposeB: true, alpha: 1, adding: nil)
        let last = backend.matmul(a, transposeA: false, b.rows(512..<517), transposeB: true, alpha: 1, adding: nil)
        expectNear(whole.columns(512..<517), last)
        let first = backend.matmul(a, transposeA: false, b.rows(0..<512), transposeB: true, alpha: 1, adding: nil)
        expectNear(whole.columns(0..<512), first, 1e-4)
    }
}
