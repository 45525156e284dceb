import MoruTestKit
import Testing

@testable import MoruTensor

@Suite("Fully connected layers with low-rank updates")
struct LowRankUpdateTests {
    private static func tensor(_ name: String, _ shape: [Int]) -> Tensor { Deterministic.tensor(name, shape, scale: 1) }

    /// Three layers of an input, the first and the last of which have an update, and what depends on all of it.
    private struct Layers {
        var x: Tensor
        var weights: [Tensor]
        var factors: [Tensor]

        init(rows: Int, inputs: Int, rank: Int, _ formats: [DType]) {
            x = tensor("x", [rows, inputs])
            let outputs = [96, 33, 200]
            weights = outputs.indices.map {
                tensor("w\($0)", [outputs[$0], inputs]).converted(to: formats[$0 % formats.count])
            }
            factors = [
                tensor("a0", [rank, inputs]), tensor("b0", [96, rank]), tensor("a2", [rank, inputs]),
                tensor("b2", [200, rank]),
            ]
        }

        /// A scalar and its gradients: of the input, the factors and dense weights.
        func passes(
            as type: DType? = nil, _ layers: (Tensor, [Tensor], [LowRankUpdate?]) -> [Tensor]
        ) -> (value: Tensor, gradients: [Tensor]) {
            let dense = weights.filter { $0.dtype == .f32 }
            return valueAndGradients(at: [x] + factors + dense) { inputs in
                var dense = inputs.dropFirst(5).makeIterator()
                let weights = weights.map { weight in weight.dtype == .f32 ? dense.next() ?? weight : weight }
                let updates = [
                    LowRankUpdate(a: inputs[1], b: inputs[2], scale: 0.5), nil,
                    LowRankUpdate(a: inputs[3], b: inputs[4], scale: 2),
                ]
                return layers(inputs[0].cast(to: type ?? .f32), weights, updates).enumerated().map { index, y in
                    (y * LowRankUpdateTests.tensor("c\(index)", y.shape)).sum()
                }.reduce(Tensor(0), +)
            }
        }

        /// Layer by layer, each update by products of its own.
        static func apart(_ x: Tensor, _ weights: [Tensor], _ updates: [LowRankUpdate?]) -> [Tensor] {
            zip(weights, updates).map { weight, update in
                let y = x.linear(weight)
                return update.map { x.linear($0.a).linear($0.b, alpha: $0.scale, adding: y) } ?? y
            }
        }
    }

    @Test(
        "have the results and gradients of products one after the other", arguments: [3, 20, 140],
        [[DType.f32], [.q4_1, .f32], [.q4_1, .q8_0]])
    func same(rows: Int, formats: [DType]) {
        Runtime.withPrecision(.f32) {
            let layers = Layers(rows: rows, inputs: 64, rank: 3, formats)
            let (found, expected) = (
                layers.passes { $0.linear($1, updates: $2) }, layers.passes { Layers.apart($0, $1, $2) }
            )
            expectClose(found.value, expected.value, absolute: 1e-3, relative: 1e-5)
            for (a, b) in zip(found.gradients, expected.gradients) { expectClose(a, b, absolute: 1e-3, relative: 1e-5) }
            #expect(found.gradients.allSatisfy { $0.values().contains { $0 != 0 } })
        }
    }

    @Test("in bytes and bf16, gradients are near those in f32", arguments: [8, 100], [DType.f32, .bf16])
    func rounded(rank: Int, type: DType) {
        let layers = Layers(rows: 300, inputs: 800, rank: rank, [.q4_1, .q8_0])
        let exact = Runtime.withPrecision(.f32) { layers.passes { $0.linear($1, updates: $2) } }
        for isAllowed in [true, false] {
            let found = Runtime.withByteProducts(isAllowed) {
                layers.passes(as: type) { $0.linear($1, updates: $2, as: type) }
            }
            for (a, b) in zip(found.gradients, exact.gradients) {
                let (difference, norm) = ((a.converted(to: .f32) - b).sumOfSquares(), b.sumOfSquares())
                #expect((difference / norm).squareRoot() < 0.01, "of \(b.shape)")
            }
        }
    }

    @Test("in bytes, rows depend on no other rows, and threads on none", arguments: [DType.f32, .bf16])
    func rows(type: DType) {
        let layers = Layers(rows: 300, inputs: 576, rank: 8, [.q4_1, .q8_0])
        let updates = [
            LowRankUpdate(a: layers.factors[0], b: layers.factors[1], scale: 2), nil,
            LowRankUpdate(a: layers.factors[2], b: layers.factors[3], scale: 1),
        ]
        let x = layers.x.converted(to: type)
        Runtime.withByteProducts {
            guard Runtime.shared.takesBytesForManyRows else { return }
            let together = x.linear(layers.weights, updates: updates)
            for rows in [0..<9, 100..<260] {
                let alone = x.rows(rows).linear(layers.weights, updates: updates)
                for (a, b) in zip(together, alone) {
                    if rows.count >= 128 { expectEqual(a.rows(rows), b) }
                    expectClose(a.rows(rows).values(), b.values(), absolute: 0.02, relative: 0.01)
                }
            }
            for (index, update) in updates.enumerated() {
                let alone = x.linear([layers.weights[index]], updates: [update])[0]
                expectEqual(alone, together[index])
            }
        }
    }
}
