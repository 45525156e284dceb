import MoruBase
import MoruNN
import MoruTensor
import MoruTestKit
import Testing

/// Each optimizer against torch's (`scripts/goldens/optimizers.py`), over several steps.
@Suite(.tags(.golden)) struct OptimizerGoldenTests {
    private static let cases: [(name: String, settings: OptimizerSettings)] = [
        ("adamw", OptimizerSettings(.adamw, beta2: 0.98)), ("adafactor", OptimizerSettings(.adafactor)),
        ("sgd", OptimizerSettings(.sgd)), ("nesterov", OptimizerSettings(.sgd, isNesterov: true)),
        ("plain", OptimizerSettings(.sgd, momentum: 0)), ("lion", OptimizerSettings(.lion)),
        ("muon", OptimizerSettings(.muon)),
    ]
    private static let shapes = ["matrix": [5, 7], "tall": [9, 4], "vector": [6]]

    private func parameters() -> [Parameter] {
        Self.shapes.sorted { $0.key < $1.key }.map { Parameter($0, Deterministic.tensor($0, $1, scale: 2)) }
    }

    private func gradients(_ parameters: [Parameter], step: Int) -> [Tensor] {
        parameters.map { Deterministic.tensor("\($0.path).gradient.\(step)", $0.value.shape, scale: 2) }
    }

    @Test(arguments: cases.map(\.name)) func movesAsTorchDoes(_ name: String) throws {
        let golden = try Goldens.json("optimizers.json")
        var settings = try #require(Self.cases.first { $0.name == name }).settings
        settings.weightDecay = Float(try #require(golden["weight_decay"]?.double))
        let parameters = parameters()
        var optimizer = settings.make(parameters)
        Runtime.withPrecision(.f32) {
            for step in 0..<(golden["steps"]?.int ?? 0) {
                optimizer.update(
                    gradients(parameters, step: step), learningRate: 0.02,
                    gradientScale: Float(golden["gradient_scale"]?.double ?? 0))
            }
        }
        for parameter in parameters {
            // muon's golden has the matrices only
            guard let expected = golden[name]?[parameter.path] else { continue }
            expectClose(parameter.value.values(), expected.floats, absolute: 2e-6, relative: 2e-5, parameter.path)
            guard name == "muon", let rounded = golden["muon_torch"]?[parameter.path] else { continue }
            // torch orthogonalises in bf16: 8 bits, over five iterations of six steps
            expectClose(parameter.value.values(), rounded.floats, absolute: 4e-3, relative: 1e-2, parameter.path)
        }
    }

    /// What an optimizer remembers is all in its state, by name.
    @Test(arguments: cases.map(\.name)) func goesOnFromItsState(_ name: String) throws {
        let settings = try #require(Self.cases.first { $0.name == name }).settings
        let reference = parameters()
        #expect(
            settings.stateBytes(of: reference) == settings.make(reference).state.reduce(0) { $0 + $1.tensor.byteCount })
        var optimizer = settings.make(reference)
        for step in 0..<3 { optimizer.update(gradients(reference, step: step), learningRate: 0.02) }
        let others = zip(parameters(), reference).map { Parameter($0.path, $1.value) }
        var restored = settings.make(others)
        let state = Dictionary(uniqueKeysWithValues: optimizer.state.map { ($0.name, $0.tensor.copied()) })
        #expect(restored.state.map(\.name) == optimizer.state.map(\.name))
        restored.restore(step: 3) { state[$0] ?? .zeros([]) }
        for step in 3..<6 {
            optimizer.update(gradients(reference, step: step), learningRate: 0.02)
            restored.update(gradients(others, step: step), learningRate: 0.02)
        }
        for (one, other) in zip(reference, others) {
            expectEqual(one.value, other.value, "\(one.path)")
        }
    }

    /// Somebody who holds a parameter's value or an optimizer's state sees no change of it.
    @Test(arguments: cases.map(\.name)) func changesNothingThatOthersHold(_ name: String) throws {
        let settings = try #require(Self.cases.first { $0.name == name }).settings
        let parameters = parameters()
        var optimizer = settings.make(parameters)
        optimizer.update(gradients(parameters, step: 0), learningRate: 0.02)
        let held = parameters.map(\.value) + optimizer.state.map(\.tensor)
        let before = held.map { $0.values() }
        optimizer.update(gradients(parameters, step: 1), learningRate: 0.02)
        expectEqual(held.map { $0.values() }, before)
    }
}
