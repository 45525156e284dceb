import MoruTestKit
import Testing

@testable import MoruTensor

@Suite struct RecomputationTests {
    /// Two layers, each of which also uses a weight that is no input of the recomputed part.
    private func gradients(recomputes: Bool) -> (value: Tensor, gradients: [Tensor]) {
        let x = Deterministic.tensor("x", [6, 8])
        let (w, v) = (Deterministic.tensor("w", [8, 8]), Deterministic.tensor("v", [8]))
        return valueAndGradients(at: [x, w, v]) { leaves in
            var h = leaves[0]
            for _ in 0..<2 {
                let layer = { (inputs: [Tensor]) -> [Tensor] in
                    let y = inputs[0].linear(leaves[1]).activated(by: .silu)
                    return [y + inputs[0], y.addingRow(leaves[2])]
                }
                let parts = recomputes ? recomputed([h], layer) : layer([h])
                h = parts[0] * parts[1]
            }
            return (h * h).sum()
        }
    }

    @Test func gradientsAreThoseOfKeptActivations() {
        let (kept, again) = (gradients(recomputes: false), gradients(recomputes: true))
        #expect(kept.value.scalar == again.value.scalar)
        for (a, b) in zip(kept.gradients, again.gradients) { expectClose(b, a) }
        #expect(kept.gradients[1].values().contains { $0 != 0 })
    }

    @Test func aPartThatIsNotFollowedIsJustComputed() {
        var calls = 0
        let results = recomputed([Tensor([1, 2], shape: [2])]) { inputs in
            calls += 1
            return [inputs[0] * 2]
        }
        #expect(results[0].values() == [2, 4] && !results[0].isTracked && calls == 1)
    }

    @Test func aResultThatIsNotUsedTakesNoPart() {
        let (_, gradients) = valueAndGradients(at: [Tensor([3, 4], shape: [2])]) { leaves in
            recomputed([leaves[0]]) { [$0[0] * $0[0], $0[0] * 7] }[0].sum()
        }
        #expect(gradients[0].values() == [6, 8])
    }

    @Test func onlyTheOutsideMayBeFollowed() {
        let x = Tensor([1, 2], shape: [2])
        let (_, gradients) = valueAndGradients(at: [Tensor([5, 6], shape: [2])]) { leaves in
            recomputed([x]) { [$0[0] * leaves[0]] }[0].sum()
        }
        #expect(gradients[0].values() == [1, 2])
    }
}
