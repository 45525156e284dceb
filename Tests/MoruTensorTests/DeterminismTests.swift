import Foundation
import MoruTestKit
import Testing

@testable import MoruTensor

/// No result may depend on how many threads computed it.
@Suite struct DeterminismTests {
    private typealias Computation = @Sendable (CPUBackend) -> [Tensor]

    private static func tensor(_ name: String, _ shape: [Int]) -> Tensor { Deterministic.tensor(name, shape, scale: 2) }

    private static func product(
        _ m: Int, _ k: Int, _ n: Int, transposeA: Bool = false, transposeB: Bool = true, as dtype: DType = .f32
    ) -> Computation {
        let a = tensor("a", transposeA ? [k, m] : [m, k])
        let b = tensor("b", transposeB ? [n, k] : [k, n]).converted(to: dtype)
        let c = tensor("c", [m, n])
        return { backend in
            [nil, c].map {
                backend.matmul(a, transposeA: transposeA, b, transposeB: transposeB, alpha: 1.25, adding: $0)
            }
        }
    }

    private static func recurrence(_ cell: RecurrentCell) -> Computation {
        let (hidden, width) = (203, 203 * cell.gateCount)
        let active = Array(repeating: 9, count: 20) + Array(repeating: 4, count: 15)
        let rows = active.reduce(0, +)
        let (input, dOutputs) = (tensor("input", [rows, width]), tensor("dOutputs", [rows, hidden]))
        let (weight, bias) = (tensor("weight", [width, hidden]) * 0.1, tensor("bias", [width]))
        let state = tensor("state", [9, hidden])
        let initial = RecurrentState(output: state, cell: state)
        return { backend in
            let trace = backend.recurrent(
                input, weight: weight, bias: bias, cell: cell, active: active, initial: initial)
            let gradients = backend.recurrentBackward(
                dOutputs, trace, weight: weight, cell: cell, active: active, initial: initial)
            return [trace.outputs, trace.cells, gradients.input, gradients.weight, gradients.bias]
        }
    }

    /// A mixture of experts of few and of many rows, dense and quantised.
    private static func gatedGradient(
        _ backend: CPUBackend, _ dy: Tensor, gate: Tensor, up: Tensor, by function: Activation
    ) -> Tensor {
        var (dy, gate, up) = (dy, gate, up)
        backend.gatedBackward(&dy, gate: &gate, up: &up, by: function, wantsResult: false)
        return gate
    }

    private static func experts(_ backend: CPUBackend, isFew: Bool) -> [Tensor] {
        let options = RoutingOptions(expertsPerToken: 3, normalizesWeights: true)
        let (logits, x) = (tensor("logits", [201, 7]), tensor("x", [201, 160]))
        let routed = backend.route(logits, options)
        let rows = ExpertRows(routed.choices, expertsPerRow: 3, expertCount: 7)
        let grouped = backend.groupRows(x, rows)
        let weights = [DType.f32, .q8_0].map { dtype in
            (0..<7).map { tensor("\(dtype)\($0)", [203, 160]).converted(to: dtype) }
        }
        let products = Runtime.withProducts(asFewRows: isFew) {
            backend.expertProducts(grouped, rows.groups, weights, as: .f32)
        }
        let sum = backend.sumOfExpertProducts([(products[0], weights[0])], rows.groups, as: .f32)
        let gradients = backend.ungroupRowsBackward(x, sum, rows, weights: routed.weights)
        return [routed.probabilities, routed.weights, grouped, sum, gradients.x, gradients.weights] + products
            + [backend.ungroupRows(sum, rows, weights: routed.weights)]
    }

    /// Texts enough for all threads, and too few; in every precision.
    private static func encoder(_ backend: CPUBackend) -> [Tensor] {
        let (dim, inner) = (48, 80)
        func projection(_ name: String, _ outputs: Int, _ inputs: Int) -> DecoderLayer.Projection {
            .init(weight: tensor(name, [outputs, inputs]), bias: tensor(name + " bias", [outputs]))
        }
        let norm = EncoderNorm(weight: tensor("norm", [dim]), bias: tensor("shift", [dim]), epsilon: 1e-5)
        let layer = EncoderLayer(
            query: projection("query", dim, dim), key: projection("key", dim, dim),
            value: projection("value", dim, dim), output: projection("output", dim, dim), attentionNorm: norm,
            up: projection("up", inner, dim), down: projection("down", dim, inner), outputNorm: norm)
        let table = tensor("table", [37, dim])
        return [Precision.automatic, .f32, .int8].flatMap { precision in
            Runtime.withPrecision(precision) {
                let pass = backend.encoderPass(norm: norm, layers: [layer, layer], heads: 3, activation: .gelu)
                return [[5, 150, 1], (0..<40).map { 7 + $0 % 5 * 9 }].map { lengths in
                    var segments: [Range<Int>] = []
                    for length in lengths {
                        let begin = segments.last?.upperBound ?? 0
                        segments.append(begin..<begin + length)
                    }
                    let ids = (0..<(segments.last?.upperBound ?? 0)).map { Int32($0 * $0 % 37) }
                    return pass.hiddenStates([(table, ids), (table, ids.reversed())], segments: segments)
                }
            }
        }
    }

    /// Rows that pass two layers of a decoder, some of them with updates, to the last states and what the caches hold: of
    /// sequences of one row and of several, after no keys and many.
    private static func decoder(_ backend: CPUBackend, dim: Int, inner: Int) -> [Tensor] {
        let (heads, headDim) = (4, 64)
        let sizes = [(256, dim), (128, dim), (128, dim), (dim, 256), (inner, dim), (inner, dim), (dim, inner)]
        return [DType.f32, .q4_1].flatMap { dtype in
            let layers = [0, 1].map { layer in
                let projections = sizes.enumerated().map { index, size in
                    DecoderLayer.Projection(
                        weight: tensor("w\(index)", [size.0, size.1]).converted(to: dtype),
                        bias: tensor("bias\(index)", [size.0]), place: layer * sizes.count + index)
                }
                return DecoderLayer(
                    inputNorm: tensor("norm", [dim]), feedForwardNorm: tensor("norm", [dim]), queryNorm: nil,
                    keyNorm: tensor("key norm", [headDim]), epsilon: 1e-5,
                    attention: (projections[0], projections[1], projections[2], projections[3]),
                    feedForward: .dense(gate: projections[4], up: projections[5], down: projections[6]), heads: heads,
                    options: AttentionOptions(scale: 0.1, window: layer == 0 ? nil : 200), number: layer)
            }
            let sets = [8, 21].map { rank in
                LowRankUpdates(
                    layers.indices.flatMap { _ in
                        sizes.map { outputs, inputs in
                            LowRankFactors(
                                a: tensor("a\(rank)", [rank, inputs]), b: tensor("b\(rank)", [outputs, rank]),
                                scale: 0.7, as: dtype == .f32 ? .f32 : .bf16)
                        }
                    })
            }
            let caches = [0, 300, 700].map { count in
                let cache = SequenceCache(layerCount: 2, kvHeads: 2, headDim: headDim, dtype: .bf16)
                let past = tensor("past", [count, 128])
                for layer in [0, 1] { cache.store(past, past, rows: 0..<count, layer: layer, position: 0) }
                cache.advance(by: count)
                return cache
            }
            let pass = backend.decoderPass(layers)
            return [[0, 1, 1, 2, 2, 2, 2, 2], [2]].flatMap { sequences -> [Tensor] in
                var positions = caches.map(\.count)
                let runs = sequences.enumerated().map { row, sequence in
                    defer { positions[sequence] += 1 }
                    return CachedAttentionRun(
                        rows: row..<row + 1, firstPosition: positions[sequence], cache: caches[sequence], layer: 0)
                }
                let angles = RotaryAngles(
                    positions: runs.map(\.firstPosition), inverseFrequencies: (0..<32).map { pow(0.8, Double($0)) })
                let updates =
                    runs.count == 1 ? [(0..<1, sets[0])] : [(0..<3, sets[0]), (4..<5, sets[1]), (5..<7, sets[0])]
                let (residual, delta) = pass(
                    tensor("x", [runs.count, dim]), runs: runs, angles: [angles], updates: updates)
                for (cache, position) in zip(caches, positions) { cache.advance(by: position - cache.count) }
                let last = caches[2].row(positions[2] - 1, layer: 1)
                return [residual, delta, last.keys, last.values]
            } + [
                backend.addUpdate(
                    LowRankFactors(a: tensor("a", [21, dim]), b: tensor("b", [601, 21]), scale: 0.7, as: .f32),
                    of: tensor("x", [7, dim]), to: tensor("y", [7, 601]))
            ]
        }
    }

    private static let computations: [String: Computation] = {
        // Sizes of no round numbers, large enough that every loop is split
        let (rows, dim) = (619, 203)
        let (x, y) = (tensor("x", [rows, dim]), tensor("y", [rows, dim]))
        let (w, b) = (tensor("w", [dim]), tensor("bias", [dim]))
        let ids = (0..<rows).map { Int32($0 % 37) }
        let (q, k, v) = (tensor("q", [rows, 6, 24]), tensor("k", [rows, 2, 24]), tensor("v", [rows, 2, 24]))
        let segments = [0..<201, 201..<202, 202..<rows]
        let options = AttentionOptions(scale: 0.2)
        let quantised = [DType.q4_0, .q8_0].map { tensor("b", [3001, 512]).converted(to: $0) }
        return [
            "lstm": recurrence(.lstm), "gru": recurrence(.gru), "product": product(201, 131, 1003),
            "tall product": product(2003, 67, 97),
            "weight gradient": product(1003, 211, 97, transposeA: true, transposeB: false),
            "input gradient": product(150, 401, 333, transposeB: false),
            "input gradient of many outputs": product(131, 1 << 13, 600, transposeB: false),
            "weight gradients of a group": { backend in
                let heights = [503, 203, 129].map { tensor("a\($0)", [211, $0]) }
                return backend.productsOfColumns(heights, tensor("b", [211, 97]))
            },
            "one row": product(1, 512, 3001), "few rows": product(5, 512, 3001, as: .bf16),
            "quantised": product(77, 512, 601, as: .q8_0),
            "packed": { backend in
                [3, 77].flatMap { rows in
                    backend.products(tensor("a", [rows, 512]), quantised, quantised.map { _ in nil }, as: .f32)
                }
            },
            "bytes": { backend in
                Runtime.withByteProducts {
                    [DType.f32, .bf16].flatMap {
                        backend.products(tensor("a", [301, 512]), quantised, quantised.map { _ in nil }, as: $0)
                    }
                }
            },
            "experts": { experts($0, isFew: false) + experts($0, isFew: true) },
            "elementwise": { [$0.add(x, y), $0.subtract(x, y), $0.multiply(x, y), $0.scale(x, by: 0.3)] },
            "activations": { backend in
                [Activation.relu, .tanh].flatMap {
                    [backend.activate(x, $0), backend.activateBackward(y, x, $0)]
                }
                    + [Activation.silu, .gelu, .geluTanh].flatMap {
                        [
                            backend.activate(x, $0), backend.activateBackward(y, x, $0),
                            backend.gated(gate: x, up: y, by: $0),
                            gatedGradient(backend, y, gate: x, up: y, by: $0),
                        ]
                    } + [backend.softcap(x, 0.5), backend.softcapBackward(x, y: y, 30)]
            },
            "rows": { [$0.addRow(x, w), $0.sumRows(x), $0.sum(x), $0.gatherRows(x, ids), $0.softmax(x)] },
            "addRows": { backend in
                var sum = Tensor.ones([40, x.shape[1]])
                backend.addRows(x, at: ids, to: &sum)
                return [sum]
            },
            "rmsNorm": { backend in
                let (out, inverse) = backend.rmsNorm(x, weight: w, epsilon: 1e-5)
                let gradients = backend.rmsNormBackward(y, x, weight: w, inverseRMS: inverse)
                return [out, gradients.x, gradients.weight]
            },
            "layerNorm": { backend in
                let (out, mean, inverse) = backend.layerNorm(x, weight: w, bias: b, epsilon: 1e-5)
                let gradients = backend.layerNormBackward(y, x, weight: w, mean: mean, inverseDeviation: inverse)
                return [out, gradients.x, gradients.weight, gradients.bias]
            },
            "crossEntropy": { backend in
                var logits = x
                let losses = backend.crossEntropy(&logits, targets: ids, scale: 0.1, wantsGradient: true)
                return [losses, logits]
            },
            "encoder": { encoder($0) }, "decoder": { decoder($0, dim: 256, inner: 608) },
            // So wide that the threads share the rows' norms
            "wide decoder": { decoder($0, dim: 1056, inner: 160) },
            "attention": { backend in
                let (out, sums) = backend.attention(q: q, k: k, v: v, segments: segments, options)
                let gradients = backend.attentionBackward(
                    q, q: q, k: k, v: v, out: out, logSumExp: sums, segments: segments, options)
                return [out, sums, gradients.q, gradients.k, gradients.v]
            },
        ]
    }()

    static let names: [String] = computations.keys.sorted()

    @Test(arguments: names, [Precision.automatic, .f32, .int8])
    func doesNotDependOnTheThreads(name: String, precision: Precision) throws {
        let computation = try #require(Self.computations[name])
        func results(_ threads: Int) -> [Tensor] {
            let backend = CPUBackend(threads: ThreadPool(threadCount: threads))
            return Runtime.withPrecision(precision) { computation(backend) }
        }
        let alone = results(1)
        for threads in [2, 3, 7] {
            for (index, (one, other)) in zip(alone, results(threads)).enumerated() {
                let isSame = one.shape == other.shape && memcmp(one.bytes, other.bytes, one.byteCount) == 0
                #expect(isSame, "result \(index) with \(threads) threads")
            }
        }
    }
}
