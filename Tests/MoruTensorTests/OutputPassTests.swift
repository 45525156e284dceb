import MoruTestKit
import Testing

@testable import MoruTensor

/// What an output projection gives in the order of its use is what the products give by themselves, bit for bit: whether
/// rows of logits lie apart or not, whether panels are kept, and however many threads share the work.
@Suite struct OutputPassTests {
    private static let dim = 96

    private static func tensor(_ name: String, _ shape: [Int]) -> Tensor { Deterministic.tensor(name, shape, scale: 2) }

    /// The first columns of rows that may be longer.
    private static func values(_ rows: Tensor, columns: Int) -> [Float] {
        let (values, stride) = (rows.values(), rows.shape[1])
        return (0..<rows.shape[0]).flatMap { values[$0 * stride..<$0 * stride + columns] }
    }

    @Test(
        "logits, losses and gradients",
        arguments: [(2048, 200), (2100, 200), (4096, 7), (4096, 140)], [DType.f32, .q8_0])
    func equalsProducts(_ size: (columns: Int, rows: Int), _ dtype: DType) throws {
        let weight = Self.tensor("weight", [size.columns, Self.dim]).converted(to: dtype)
        let chunks = ["first", "second"].map { Self.tensor($0, [size.rows, Self.dim]) }
        let targets = (0..<size.rows).map { Int32($0 % 5 == 3 ? -1 : $0 * 37 % size.columns) }
        for precision in [Precision.automatic, .f32] {
            try Runtime.withPrecision(precision) {
                let plain = CPUBackend(threads: ThreadPool(threadCount: 1))
                for threads in [1, 2, 5] {
                    let backend = CPUBackend(threads: ThreadPool(threadCount: threads))
                    let pass = backend.outputPass(weight, isRepeated: true)
                    var (found, expected): (Tensor?, Tensor?) = (nil, nil)
                    for chunk in chunks {
                        var logits = pass.logits(chunk)
                        var known = plain.matmul(
                            chunk, transposeA: false, weight, transposeB: true, alpha: 1, adding: nil)
                        expectEqual(Self.values(logits, columns: size.columns), known.values())
                        let losses = pass.crossEntropy(&logits, targets: targets, wantsGradient: true)
                        let knownLosses = plain.crossEntropy(&known, targets: targets, scale: 1, wantsGradient: true)
                        expectEqual(losses, knownLosses)
                        expectEqual(Self.values(logits, columns: size.columns), known.values())
                        let rows = Tensor(uninitialized: chunk.shape)
                        pass.writeRowGradient(logits, to: rows)
                        let knownRows = plain.matmul(
                            known, transposeA: false, weight, transposeB: false, alpha: 1, adding: nil)
                        expectEqual(rows, knownRows)
                        pass.addWeightGradient(logits, chunk, to: &found)
                        plain.addProduct(known, transposeA: true, chunk, to: &expected)
                        expectEqual(try #require(found), try #require(expected))
                    }
                }
            }
        }
    }
}
