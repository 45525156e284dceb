import MoruTestKit
import Testing

@testable import MoruTensor

/// The steps of a mixture of experts, against the same done row by row.
@Suite struct ExpertTests {
    private static func tensor(_ name: String, _ shape: [Int]) -> Tensor { Deterministic.tensor(name, shape, scale: 2) }

    @Test(arguments: [(1, 4, 1), (7, 4, 2), (200, 9, 3), (33, 128, 8), (5, 3, 3)], [false, true])
    func routesToTheMostProbable(size: (rows: Int, experts: Int, used: Int), normalizes: Bool) {
        let logits = Self.tensor("logits", [size.rows, size.experts]) * 3
        let options = RoutingOptions(expertsPerToken: size.used, normalizesWeights: normalizes)
        let (rows, weights) = logits.routed(options)
        let probabilities = logits.softmax()
        #expect(rows.count == size.rows * size.used && rows.groups.last?.upperBound == rows.count)
        #expect(rows.experts == rows.experts.sorted() && !rows.groups.contains { $0.isEmpty })
        for row in 0..<size.rows {
            let p = probabilities.rows(row..<row + 1).values()
            let best = p.indices.sorted { (p[$0], $1) > (p[$1], $0) }.prefix(size.used)
            let sum = normalizes ? best.reduce(0) { $0 + p[$1] } : 1
            #expect(weights.rows(row..<row + 1).values() == best.map { p[$0] / sum })
            let its = zip(rows.experts, rows.groups).filter { rows.sources[$1].contains(Int32(row)) }.map(\.0)
            #expect(its == best.sorted())
        }
        for group in rows.groups { #expect(Array(rows.sources[group]) == rows.sources[group].sorted()) }
    }

    @Test func amongEqualsTheFirstAreChosenAndNothingIsChosenTwice() {
        let options = RoutingOptions(expertsPerToken: 2, normalizesWeights: true)
        #expect(Tensor([1, 1, 1, 0], shape: [1, 4]).routed(options).rows.experts == [0, 1])
        #expect(Tensor([0, .nan, 1, 2], shape: [1, 4]).routed(options).rows.experts.count == 2)
    }

    @Test(arguments: [false, true]) func gradientsOfRouting(normalizes: Bool) {
        let options = RoutingOptions(expertsPerToken: 2, normalizesWeights: normalizes)
        let scale = Self.tensor("scale", [6, 2])
        expectGradients(at: [Self.tensor("logits", [6, 5])], step: 1e-3) {
            ($0[0].routed(options).weights * scale).sum()
        }
        expectGradients(at: [Self.tensor("a", [6, 5]), Self.tensor("b", [6, 5])], step: 1e-3) {
            loadBalancingLoss($0, options)
        }
    }

    @Test func anEvenSpreadHasTheLeastLoss() {
        let options = RoutingOptions(expertsPerToken: 2, normalizesWeights: true)
        let even = Tensor((0..<16).map { Float(($0 + $0 / 4 * 2) % 4 < 2 ? 20 : 0) }, shape: [4, 4])
        expectClose([loadBalancingLoss([even], options).scalar], [2])
        let uneven = Tensor((0..<16).map { Float($0 % 4 < 2 ? 20 : 0) }, shape: [4, 4])
        expectClose([loadBalancingLoss([uneven, uneven], options).scalar], [4])
    }

    /// A gate, what it gates, and the way back, of each expert.
    private static func experts(_ count: Int, _ dim: Int, _ inner: Int, _ dtype: DType = .f32) -> [[Tensor]] {
        [("gate", [inner, dim]), ("up", [inner, dim]), ("down", [dim, inner])].map { name, shape in
            (0..<count).map { (tensor("\(name).\($0)", shape) * 0.3).converted(to: dtype) }
        }
    }

    private static func mixture(_ x: Tensor, _ logits: Tensor, _ experts: [[Tensor]]) -> Tensor {
        let (rows, weights) = logits.routed(RoutingOptions(expertsPerToken: 2, normalizesWeights: true))
        func active(_ layer: Int) -> [Tensor] { rows.experts.map { experts[layer][$0] } }
        let parts = x.grouped(rows).expertLinear([active(0), active(1)], rows)
        return swiglu(gate: parts[0], up: parts[1]).expertLinear([active(2)], rows)[0]
            .ungrouped(rows, weights: weights)
    }

    @Test(arguments: [DType.f32, .bf16, .q8_0], [true, false])
    func aRowIsComputedAsIfItWereAlone(dtype: DType, isFew: Bool) {
        let (dim, inner, count) = (96, 160, 5)
        let experts = Self.experts(count, dim, inner, dtype)
        let (x, logits) = (Self.tensor("x", [23, dim]), Self.tensor("logits", [23, count]) * 2)
        Runtime.withProducts(asFewRows: isFew) {
            let all = Self.mixture(x, logits, experts)
            for row in 0..<23 {
                let (one, said) = (x.rows(row..<row + 1), logits.rows(row..<row + 1))
                expectEqual(Self.mixture(one, said, experts), all.rows(row..<row + 1), "row \(row)")
                let p = said.softmax().values()
                let best = p.indices.sorted { p[$0] > p[$1] }.prefix(2).sorted()
                var sum = Tensor.zeros([1, dim])
                for expert in best {
                    let inner = swiglu(gate: one.linear(experts[0][expert]), up: one.linear(experts[1][expert]))
                    sum = sum + inner.linear(experts[2][expert]) * (p[expert] / (p[best[0]] + p[best[1]]))
                }
                expectClose(all.rows(row..<row + 1), sum, "row \(row)")
            }
        }
    }

    @Test func gradients() {
        let (dim, inner, count) = (5, 4, 3)
        let scale = Self.tensor("scale", [7, dim])
        let inputs =
            [Self.tensor("x", [7, dim]), Self.tensor("logits", [7, count])] + Self.experts(count, dim, inner).joined()
        expectGradients(at: inputs, step: 2e-3, absolute: 3e-3) { all in
            let layers = (0..<3).map { Array(all[2 + $0 * count..<2 + ($0 + 1) * count]) }
            return (Self.mixture(all[0], all[1], layers) * scale).sum()
        }
    }

    @Test func gradientsOfActivationsInBF16() {
        let (dim, count) = (32, 3)
        let experts = Self.experts(count, dim, 48)
        let (x, logits) = (Self.tensor("x", [40, dim]), Self.tensor("logits", [40, count]))
        func gradients(_ type: DType) -> [Tensor] {
            valueAndGradients(at: [x, logits] + experts.joined()) { all in
                let layers = (0..<3).map { Array(all[2 + $0 * count..<2 + ($0 + 1) * count]) }
                let y = Self.mixture(all[0].cast(to: type), all[1], layers)
                return (y * Self.tensor("scale", y.shape)).sum()
            }.gradients
        }
        let exact = Runtime.withPrecision(.f32) { gradients(.f32) }
        for (found, expected) in zip(gradients(.bf16), exact) {
            let norm = Float(expected.sumOfSquares().squareRoot())
            #expect(Float((found - expected).sumOfSquares().squareRoot()) < 0.02 * norm)
        }
    }
}
