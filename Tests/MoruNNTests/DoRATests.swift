import MoruModels
import MoruNN
import MoruTensor
import MoruTestKit
import Testing

/// Magnitudes and directions.
@Suite struct DoRATests {
    /// The layer's moved weight, its rows brought to the learnt magnitudes, written out.
    private func expected(_ layer: Linear, _ pair: LoRAPair, _ x: Tensor) -> Tensor {
        let moved = layer.weight.value.converted(to: .f32) + pair.b.value.matmul(pair.a.value) * pair.scale
        let rows = (0..<layer.outputs).map { row in
            let weight = moved.rows(row..<row + 1)
            let norm = Float(weight.sumOfSquares().squareRoot())
            return weight * ((pair.magnitude?.value.values()[row] ?? norm) / norm)
        }
        let y = x.linear(.concatenated(rows))
        return layer.bias.map { y.addingRow($0.value) } ?? y
    }

    @Test(arguments: [DType.f32, .bf16, .q8_0, .q4_0]) func rowsHaveTheLearntMagnitudes(dtype: DType) throws {
        try Runtime.withPrecision(.f32) {
            let layer = Linear(
                path: "l", weight: Parameter("l.weight", Deterministic.tensor("w", [24, 64]).converted(to: dtype)),
                bias: Parameter("l.bias", Deterministic.tensor("b", [24])))
            let configuration = LoRAConfiguration(rank: 3, alpha: 5, targets: ["l"], decomposesWeights: true)
            let adapter = try LoRAAdapter(configuration, adapting: [layer], seed: 1)
            // Enough rows that quantised weights are multiplied as they are
            let x = Deterministic.tensor("x", [12, 64])
            let context = LayerContext(adapters: [LayerContext.AdapterRun(rows: 0..<12, adapter: adapter)])
            expectClose(layer(x, context), layer(x), absolute: 1e-5, "a fresh adapter changes nothing")
            let pair = try #require(adapter.pairs["l"])
            // The norms follow every move
            for step in 1...3 {
                for parameter in pair.parameters {
                    parameter.value =
                        parameter.value + Deterministic.tensor("\(parameter.path)\(step)", parameter.value.shape)
                }
                expectClose(layer(x, context), expected(layer, pair, x), absolute: 2e-5, relative: 1e-4, "\(step)")
            }
        }
    }
}
