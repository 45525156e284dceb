import MoruTestKit
import Testing

@testable import MoruTensor

@Suite("Panels of quantised matrices that are kept")
struct PanelStoreTests {
    private static func tensor(_ name: String, _ shape: [Int]) -> Tensor {
        Deterministic.tensor(name, shape, scale: 1)
    }

    /// Whether the kernels in use read panels at all.
    private static let usesPanels = Runtime.shared.kernelName != "scalar"

    /// A product, and the gradient of its input.
    private static func passes(_ x: Tensor, _ w: Tensor) -> [[Float]] {
        let (value, gradients) = valueAndGradients(at: [x]) { inputs in
            let y = inputs[0].linear(w)
            return (y * y).reshaped(1, y.count).matmul(Tensor.ones([y.count, 1])).reshaped()
        }
        return [value.values(), gradients[0].values(), x.linear([w, w])[1].values()]
    }

    @Test("give the same products bit for bit", arguments: [DType.q4_1, .q8_0], [Precision.automatic, .f32])
    func same(_ format: DType, _ precision: Precision) {
        Runtime.withPrecision(precision) {
            // More columns than one panel has, and rows of part of a storage
            for (outputs, inputs, part) in [(6500, 704, 0..<6500), (320, 96, 64..<301)] {
                let w = Self.tensor("w", [outputs, inputs]).converted(to: format).rows(part)
                let x = Self.tensor("x", [131, inputs])
                let expected = Self.passes(x, w)
                let store = PanelStore()
                for _ in 0..<2 {
                    Runtime.withPanels(store) { expectEqual(Self.passes(x, w), expected) }
                    #expect((store.byteCount > 0) == Self.usesPanels)
                }
            }
        }
    }

    @Test("are made once, within the limit, and of no matrix but their own")
    func limits() {
        let x = Self.tensor("x", [131, 96])
        let store = PanelStore(byteLimit: 200_000)
        Runtime.withPanels(store) {
            for number in 0..<8 {
                // Freed before the next one takes its place
                let w = Self.tensor("w\(number)", [320, 96]).converted(to: .q8_0)
                let expected = x.linear(w.converted(to: .f32)).values()
                expectEqual(x.linear(w).values(), expected)
                let bytes = store.byteCount
                #expect(x.linear(w).values() == expected && store.byteCount == bytes)
            }
            #expect(store.byteCount <= 200_000 && (store.byteCount > 0) == Self.usesPanels)
            store.close()
            let w = Self.tensor("w", [320, 96]).converted(to: .q8_0)
            #expect(x.linear(w).values() == x.linear(w.converted(to: .f32)).values() && store.byteCount == 0)
        }
    }

    @Test("are not kept of few rows, nor of dense matrices")
    func others() {
        let store = PanelStore()
        Runtime.withPanels(store) {
            _ = Self.tensor("x", [60, 96]).linear(Self.tensor("w", [320, 96]).converted(to: .q8_0))
            _ = Self.tensor("x", [200, 96]).linear(Self.tensor("w", [320, 96]))
        }
        #expect(store.byteCount == 0)
    }
}
