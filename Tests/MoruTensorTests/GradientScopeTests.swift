import MoruTestKit
import Testing

@testable import MoruTensor

/// What the goldens of single operations do not show of the backward pass.
@Suite struct GradientScopeTests {
    @Test func aGradientWithinAGradientLeavesTheOuterOneWhole() {
        let (x, z) = (Tensor([2, 3], shape: [2]), Tensor([5, 7], shape: [2]))
        var inner: [Tensor] = []
        let (_, outer) = valueAndGradients(at: [x]) { x in
            let square = x[0] * x[0]
            inner = valueAndGradients(at: [z]) { ($0[0] * square).sum() }.gradients
            return square.sum()
        }
        #expect(inner[0].values() == [4, 9])
        #expect(outer[0].values() == [4, 6])
    }

    @Test func aLongChainDoesNotOverflowTheStack() {
        let (value, gradients) = valueAndGradients(at: [Tensor([1], shape: [1])]) { inputs in
            var x = inputs[0]
            for _ in 0..<200_000 { x = x + inputs[0] }
            return x.sum()
        }
        #expect(value.scalar == 200_001)
        #expect(gradients[0].values() == [200_001])
    }

    @Test func frozenFactorsAndRowsGetNoGradient() {
        let (x, row) = (Tensor([1, 2, 3, 4], shape: [2, 2]), Tensor([10, 20], shape: [2]))
        let byInput = valueAndGradients(at: [x]) { ($0[0].addingRow(row) * x).sum() }.gradients
        #expect(byInput[0].values() == [1, 2, 3, 4])
        let byRow = valueAndGradients(at: [row]) { (x.addingRow($0[0]) * x).sum() }.gradients
        #expect(byRow[0].values() == [4, 6])
    }

    @Test func squaresOfManyPartsAreAllCounted() {
        let count = (1 << 19) + 3
        #expect(Tensor.filled(2, [count]).sumOfSquares() == Double(4 * count))
    }

    @Test func linearWithFewRowsScalesAndAdds() {
        let (x, w) = (Deterministic.tensor("x", [9, 12]), Deterministic.tensor("w", [5, 12]))
        let y = Deterministic.tensor("y", [9, 5])
        Runtime.withPrecision(.f32) {
            // 9 rows take the general product, 3 the one for few rows
            let many = x.linear(w, alpha: 1.5, adding: y)
            expectClose(x.rows(0..<3).linear(w, alpha: 1.5, adding: y.rows(0..<3)), many.rows(0..<3))
            expectClose(x.rows(0..<3).linear(w, alpha: 1.5), x.linear(w, alpha: 1.5).rows(0..<3))
        }
    }

    /// Handed over as soon as the first use has been gone through, in the order of the backward pass; what nothing
    /// depends on comes last.
    @Test(arguments: [false, true]) func gradientsAreHandedOverWhenTheyAreComplete(recomputes: Bool) {
        let inputs = ["tied", "unused", "early", "late"].map { Deterministic.tensor($0, [4, 4]) }
        func function(_ tied: Tensor, _ early: Tensor, _ late: Tensor) -> Tensor {
            let layer = { (x: [Tensor]) in [x[0].linear(early) * x[0]] }
            let first = recomputes ? recomputed([tied * tied], layer)[0] : layer([tied * tied])[0]
            return first.linear(late).linear(tied).sum()
        }
        let together = valueAndGradients(at: inputs) { function($0[0], $0[2], $0[3]) }
        let leaves = GradientLeaves(inputs)
        var order: [Int] = []
        let value = valueAndGradients(at: leaves) {
            function(leaves[0], leaves[2], leaves[3])
        } whenComplete: { index, gradient in
            order.append(index)
            expectEqual(gradient, together.gradients[index], "\(index)")
        }
        #expect(order == [3, 2, 0, 1])
        #expect(value.scalar == together.value.scalar && !value.isTracked)
        #expect(together.gradients[1].values().allSatisfy { $0 == 0 })
    }

    @Test func aFailureWhileGradientsAreHandedOverEndsThePass() {
        struct Refusal: Error {}
        var order: [Int] = []
        let leaves = GradientLeaves([.ones([2]), .ones([2])])
        #expect(throws: Refusal.self) {
            try valueAndGradients(at: leaves) {
                (leaves[0] * leaves[0] * leaves[1]).sum()
            } whenComplete: { index, _ in
                order.append(index)
                throw Refusal()
            }
        }
        #expect(order == [1])
    }

    @Test func aTensorIsNotReadOnceItsGradientIsComplete() async {
        await #expect(processExitsWith: .failure) {
            let leaves = GradientLeaves([.ones([2]), .ones([2])])
            _ = valueAndGradients(at: leaves) {
                (leaves[0] * leaves[0] * leaves[1]).sum()
            } whenComplete: { _, _ in
                _ = leaves[1]
            }
        }
    }
}
