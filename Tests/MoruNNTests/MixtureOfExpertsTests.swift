import MoruNN
import MoruTestKit
import Testing

@testable import MoruTensor

@Suite struct MixtureOfExpertsTests {
    private static let (dim, inner, count) = (64, 96, 4)

    private static func tensor(_ name: String, _ shape: [Int]) -> Tensor {
        Deterministic.tensor(name, shape, scale: 0.6)
    }

    private func layer(_ dtype: DType = .f32) -> MixtureOfExperts {
        func linears(_ name: String, _ shape: [Int]) -> [Linear] {
            (0..<Self.count).map {
                let path = "experts.\($0).\(name)"
                return Linear(path: path, weight: Parameter(path, Self.tensor(path, shape).converted(to: dtype)))
            }
        }
        let (dim, inner) = (Self.dim, Self.inner)
        return MixtureOfExperts(
            router: Parameter("gate", Self.tensor("gate", [Self.count, dim])), gate: linears("gate", [inner, dim]),
            up: linears("up", [inner, dim]), down: linears("down", [dim, inner]),
            options: RoutingOptions(expertsPerToken: 2, normalizesWeights: true))
    }

    private func adapter(_ layer: MixtureOfExperts, _ seed: UInt64) throws -> LoRAAdapter {
        let adapter = try LoRAAdapter(
            LoRAConfiguration(rank: 3, targets: ["up", "experts.1.gate", "down"]), adapting: layer.linears, seed: seed)
        for pair in adapter.pairs.values { pair.b.value = Self.tensor("\(seed)\(pair.b.path)", pair.b.value.shape) }
        return adapter
    }

    @Test("rows, adapted in any way, are the same with any neighbours", arguments: [DType.f32, .bf16, .q8_0])
    func neighbours(dtype: DType) throws {
        let layer = layer(dtype)
        let scales = try IA3Adapter(
            IA3Configuration(targets: ["up", "down"], inputTargets: ["down"]), adapting: layer.linears)
        for parameter in scales.parameters { parameter.value = Self.tensor(parameter.path, parameter.value.shape) }
        let adapters: [(any Adapter)?] = [nil, try adapter(layer, 1), scales, try adapter(layer, 2)]
        let x = Self.tensor("x", [70, Self.dim]) * 4
        func apply(_ segments: [(rows: Range<Int>, adapter: (any Adapter)?)]) -> [[Float]] {
            var runs: [LayerContext.AdapterRun] = []
            var next = 0
            for segment in segments {
                let its = next..<next + segment.rows.count
                next = its.upperBound
                if let adapter = segment.adapter { runs.append(.init(rows: its, adapter: adapter)) }
            }
            let y = layer(Tensor.concatenated(segments.map { x.rows($0.rows) }), LayerContext(adapters: runs)).output
            next = 0
            return segments.map { segment in
                defer { next += segment.rows.count }
                return y.rows(next..<next + segment.rows.count).values()
            }
        }
        // More than few rows each, and few rows together
        for segments in [[0..<9, 9..<30, 30..<43, 43..<70], [0..<1, 1..<4, 4..<6, 6..<8]] {
            let all = zip(segments, adapters).map { (rows: $0, adapter: $1) }
            expectEqual(apply(all), all.flatMap { apply([$0]) })
        }
    }

    @Test func anAdapterMovesTheWeightsOfItsExperts() throws {
        let layer = layer()
        let adapter = try adapter(layer, 1)
        let x = Self.tensor("x", [20, Self.dim]) * 4
        Runtime.withPrecision(.f32) {
            let adapted = layer(x, LayerContext(adapters: [.init(rows: 0..<20, adapter: adapter)])).output
            let plain = layer(x).output
            for linear in layer.linears {
                guard let pair = adapter.pairs[linear.path] else { continue }
                linear.weight.value = linear.weight.value + pair.b.value.matmul(pair.a.value) * pair.scale
            }
            expectClose(layer(x).output, adapted, absolute: 1e-3)
            #expect(Float((adapted - plain).sumOfSquares()) > 1)
        }
    }

    @Test func gradientsReachRouterExpertsAndAdapters() throws {
        let layer = layer()
        let adapter = try adapter(layer, 1)
        let x = Self.tensor("x", [20, Self.dim]) * 4
        let parameters = [layer.router] + layer.linears.map(\.weight) + adapter.parameters
        let (_, gradients) = valueAndGradients(of: parameters) {
            layer(x, LayerContext(adapters: [.init(rows: 3..<11, adapter: adapter)])).output.sum()
        }
        for (parameter, gradient) in zip(parameters, gradients) {
            #expect(gradient.sumOfSquares() > 0, "\(parameter.path)")
        }
    }

    @Test func onlyExpertsThatGetRowsArePacked() {
        let layer = layer(.q8_0)
        // One row, many times: two experts of four
        _ = layer(Tensor.concatenated(Array(repeating: Self.tensor("x", [1, Self.dim]), count: 5)))
        #expect(layer.linears.count { $0.weight.value.storage.packedForms.count > 0 } == 6)
    }

    @Test func noRowsAreNoRows() {
        #expect(layer()(Tensor.zeros([0, Self.dim])).output.shape == [0, Self.dim])
    }
}
