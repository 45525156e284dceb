import MoruBase
import MoruTensor
import MoruTestKit
import Testing

/// Every differentiable operation: values and gradients as PyTorch computes them, and gradients as differences say.
@Suite(.tags(.golden)) struct OperationTests {
    typealias Operation = @Sendable ([Tensor]) -> Tensor

    private static let targets: [Int32] = [3, -100, 12, 0]
    private static let segments = [0..<5, 5..<6, 6..<13]
    private static let frequencies = (0..<4).map { 1 / Double(sqrt4(10_000, $0)) }
    private static func sqrt4(_ base: Double, _ index: Int) -> Double {
        (0..<index).reduce(1.0) { product, _ in product * base.squareRoot().squareRoot() }
    }
    private static let scale = 1 / Float(8).squareRoot()

    static let operations: [(name: String, operation: Operation)] = [
        ("add", { $0[0] + $0[1] }),
        ("subtract", { $0[0] - $0[1] }),
        ("multiply", { $0[0] * $0[1] }),
        ("scale", { $0[0] * 1.7 }),
        ("addRow", { $0[0].addingRow($0[1]) }),
        ("mean", { $0[0].mean() }),
        ("silu", { $0[0].activated(by: .silu) }),
        ("gelu", { $0[0].activated(by: .gelu) }),
        ("geluTanh", { $0[0].activated(by: .geluTanh) }),
        ("softcapped", { $0[0].softcapped(0.7) }),
        ("relu", { $0[0].activated(by: .relu) }),
        ("tanh", { $0[0].activated(by: .tanh) }),
        ("binaryCrossEntropy", { ($0[0] * 6).binaryCrossEntropy([1, 0, 0, 0.5, 1, 0]) }),
        ("swiglu", { swiglu(gate: $0[0], up: $0[1]) }),
        ("geglu", { gated(gate: $0[0], up: $0[1], by: .gelu) }),
        ("gegluTanh", { gated(gate: $0[0], up: $0[1], by: .geluTanh) }),
        ("matmul", { $0[0].matmul($0[1]) }),
        ("linear", { $0[0].linear($0[1]) }),
        ("linearAdding", { $0[0].linear($0[1], alpha: 1.5, adding: $0[2]) }),
        ("rmsNorm", { $0[0].rmsNorm($0[1], epsilon: 1e-5) }),
        ("layerNorm", { $0[0].layerNorm($0[1], bias: $0[2], epsilon: 1e-5) }),
        ("softmax", { $0[0].softmax() }),
        ("crossEntropy", { $0[0].crossEntropy(targets) }),
        ("linearCrossEntropy", { linearCrossEntropy($0[0], $0[1], targets) }),
        (
            "linearCrossEntropyCapped",
            { linearCrossEntropy($0[0], $0[1], targets, LogitTransform(scale: 1.5, softcap: 2)) }
        ),
        ("logits", { $0[0].logits($0[1], LogitTransform(scale: 1.5, softcap: 2)) }),
        ("embedding", { embedding([2, 0, 2, 5], $0[0]) }),
        ("gatheringRows", { $0[0].gatheringRows([4, 1, 4]) }),
        ("rows", { $0[0].rows(1..<4) }),
        ("transposed", { $0[0].transposed() }),
        ("concatenated", { Tensor.concatenated($0) }),
        ("rope", { $0[0].rope(RotaryAngles(positions: [0, 1, 2, 7, 100], inverseFrequencies: frequencies)) }),
        ("attention", { attention($0, window: nil) }),
        ("attentionWindow", { attention($0, window: 3) }),
        ("attentionCapped", { attention($0, window: nil, softcap: 0.5) }),
        ("attentionBothWays", { attention($0, window: nil, causal: false) }),
        ("segmentMeans", { $0[0].sumsOfSegments(segments) { 1 / Float($1) } }),
        ("segmentMaxima", { $0[0].maximaOfSegments(segments) }),
    ]

    private static func attention(
        _ inputs: [Tensor], window: Int?, softcap: Float? = nil, causal: Bool = true
    ) -> Tensor {
        scaledDotProductAttention(
            q: inputs[0], k: inputs[1], v: inputs[2], segments: segments,
            AttentionOptions(scale: scale, causal: causal, window: window, softcap: softcap))
    }

    private func inputs(_ name: String, _ golden: JSON) -> [Tensor] {
        (golden["shapes"]?.array ?? []).enumerated().map { index, shape in
            Deterministic.tensor("\(name).\(index)", shape.ints, scale: 2)
        }
    }

    @Test(arguments: operations.map(\.name)) func agreesWithPyTorch(name: String) throws {
        let golden = try #require(try Goldens.json("operations.json")[name])
        let operation = try #require(Self.operations.first { $0.name == name }).operation
        let inputs = inputs(name, golden)
        try Runtime.withPrecision(.f32) {
            let output = operation(inputs)
            expectClose(output.values(), golden["output"]?.floats ?? [], name)
            let weights = Deterministic.tensor("\(name).weights", output.shape, scale: 2)
            let (_, gradients) = valueAndGradients(at: inputs) { (operation($0) * weights).sum() }
            let expected = try #require(golden["gradients"]?.array)
            #expect(gradients.count == expected.count)
            for (index, (gradient, expected)) in zip(gradients, expected).enumerated() {
                expectClose(gradient.values(), expected.floats, "\(name) gradient \(index)")
            }
        }
    }

    @Test(arguments: operations.map(\.name)) func gradientsAgreeWithDifferences(name: String) throws {
        let golden = try #require(try Goldens.json("operations.json")[name])
        let operation = try #require(Self.operations.first { $0.name == name }).operation
        let inputs = inputs(name, golden)
        let weights = Deterministic.tensor("\(name).weights", operation(inputs).shape, scale: 2)
        expectGradients(at: inputs, name) { (operation($0) * weights).sum() }
    }

    @Test func gradientsOfSharedAndUnusedInputs() {
        let x = Tensor([1, -2, 3], shape: [3])
        let (value, gradients) = valueAndGradients(at: [x, .ones([2])]) { ($0[0] * $0[0] + $0[0]).sum() }
        #expect(value.scalar == 16)
        #expect(gradients[0].values() == [3, -3, 7])
        #expect(gradients[1].values() == [0, 0])
    }

    @Test func adamWAgreesWithPyTorch() throws {
        let golden = try #require(try Goldens.json("operations.json")["adamw"]?["steps"]?.array)
        var parameter = Deterministic.tensor("adamw.parameter", [3, 7], scale: 2)
        var (first, second) = (Tensor.zeros([3, 7]), Tensor.zeros([3, 7]))
        for (index, expected) in golden.enumerated() {
            let step = AdamWStep(
                learningRate: 0.05, beta1: 0.9, beta2: 0.99, epsilon: 1e-8, weightDecay: 0.1, step: index + 1)
            let before = parameter
            let values = before.values()
            parameter.step(
                step, gradient: Deterministic.tensor("adamw.gradient.\(index)", [3, 7], scale: 2), first: &first,
                second: &second)
            expectEqual(before.values(), values, "a tensor that shares the memory was written")
            expectClose(parameter.values(), expected.floats, "step \(index + 1)")
        }
    }
}
