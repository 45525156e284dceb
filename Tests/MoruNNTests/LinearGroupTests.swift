import MoruNN
import MoruTensor
import MoruTestKit
import Testing

/// A group computes what its members compute one by one.
@Suite struct LinearGroupTests {
    private func layers(_ outputs: [Int], inputs: Int, _ dtypes: [DType] = [.f32], bias: Bool = false) -> [Linear] {
        outputs.enumerated().map { index, count in
            let path = "layer\(index)"
            let weight = Deterministic.tensor("\(path).weight", [count, inputs])
            let row = bias ? Parameter("\(path).bias", Deterministic.tensor("\(path).bias", [count])) : nil
            return Linear(
                path: path, weight: Parameter("\(path).weight", weight.converted(to: dtypes[index % dtypes.count])),
                bias: row)
        }
    }

    private func group(_ layers: [Linear]) -> LinearGroup { LinearGroup(layers[0], layers[1], layers[2]) }

    @Test(
        "bit for bit, few rows and many, in any mix of formats", arguments: [0, 1, 7, 8, 9, 40],
        [[DType.f32], [.q4_1], [.q8_0, .q4_1], [.bf16, .f32, .q8_0]])
    func equalsMembers(rows: Int, dtypes: [DType]) {
        let layers = layers([96, 33, 200], inputs: 320, dtypes, bias: true)
        let x = Deterministic.tensor("x", [rows, 320])
        let together = group(layers)(x)
        for (layer, y) in zip(layers, together) {
            #expect(y.shape == [rows, layer.outputs])
            expectEqual(y, layer(x), "\(layer.path) of \(dtypes), \(rows) rows")
        }
    }

    @Test("large enough for every thread")
    func largeProducts() {
        let layers = layers([1024, 256, 300], inputs: 576, [.q4_1])
        for rows in [1, 5, 64] {
            let x = Deterministic.tensor("x", [rows, 576])
            for (layer, y) in zip(layers, group(layers)(x)) { expectEqual(y, layer(x)) }
        }
    }

    @Test("each member keeps its adapter")
    func adapters() throws {
        let layers = layers([32, 16, 16], inputs: 32)
        let adapter = try LoRAAdapter(
            LoRAConfiguration(rank: 2, targets: ["layer0", "layer2"]), adapting: layers, seed: 1)
        for pair in adapter.pairs.values { pair.b.value = Deterministic.tensor(pair.b.path, pair.b.value.shape) }
        let context = LayerContext(adapters: [.init(rows: 2..<5, adapter: adapter)])
        let x = Deterministic.tensor("x", [12, 32])
        let together = group(layers)(x, context)
        for (layer, y) in zip(layers, together) { expectEqual(y, layer(x, context)) }
        #expect(together[0].values() != layers[0](x).values())
    }

    @Test("gradients of the input and of every weight", arguments: [3, 20], [true, false])
    func gradients(rows: Int, usesAll: Bool) {
        let layers = layers([8, 4, 6], inputs: 12, bias: true)
        let input = Parameter("x", Deterministic.tensor("x", [rows, 12]))
        let parameters = [input] + layers.flatMap(\.parameters)
        func loss(_ outputs: [Tensor]) -> Tensor {
            // A result that nothing reads leaves no gradient behind
            outputs.enumerated().filter { usesAll || $0.offset != 1 }
                .map { ($0.element * $0.element).sum() * Float($0.offset + 1) }
                .reduce(Tensor(0), +)
        }
        Runtime.withPrecision(.f32) {
            let apart = valueAndGradients(of: parameters) { loss(layers.map { $0(input.tensor) }) }
            let together = valueAndGradients(of: parameters) { loss(group(layers)(input.tensor)) }
            expectClose(together.value, apart.value)
            for (parameter, (found, expected)) in zip(parameters, zip(together.gradients, apart.gradients)) {
                expectClose(found, expected, parameter.path)
            }
            #expect(together.gradients[1].values().contains { $0 != 0 })
        }
    }

    @Test("gradients of the input alone, through frozen weights of any format")
    func frozenWeights() {
        let layers = layers([64, 32, 32], inputs: 64, [.q8_0, .bf16])
        let input = Parameter("x", Deterministic.tensor("x", [10, 64]))
        Runtime.withPrecision(.f32) {
            let apart = valueAndGradients(of: [input]) {
                layers.map { $0(input.tensor) }.map { ($0 * $0).sum() }.reduce(Tensor(0), +)
            }
            let together = valueAndGradients(of: [input]) {
                group(layers)(input.tensor).map { ($0 * $0).sum() }.reduce(Tensor(0), +)
            }
            expectClose(together.gradients[0], apart.gradients[0], absolute: 1e-4)
        }
    }
}
