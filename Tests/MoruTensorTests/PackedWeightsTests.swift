import MoruTestKit
import Testing

@testable import MoruTensor

@Suite("Products with quantised weights")
struct PackedWeightsTests {
    private static let formats: [DType] = [.q4_0, .q4_1, .q5_0, .q5_1, .q8_0]

    private func tensor(_ name: String, _ shape: [Int]) -> Tensor { Deterministic.tensor(name, shape, scale: 1) }

    @Test("are close to the products with what the weights stand for", arguments: formats)
    func close(_ format: DType) {
        let w = tensor("w", [75, 160]).converted(to: format), x = tensor("x", [3, 160])
        let exact = Runtime.withPrecision(.f32) { x.linear(w.converted(to: .f32)) }
        expectClose(x.linear(w).values(), exact.values(), absolute: 0.1, relative: 0.02)
        let addend = tensor("c", [3, 75])
        let sum = x.linear(w, alpha: 0.5, adding: addend)
        expectEqual(sum, (x.linear(w) * 0.5 + addend))
    }

    @Test("in 8 bits, a row depends on no other row, whatever their number", arguments: formats)
    func rows(_ format: DType) {
        let w = tensor("w", [200, 352]).converted(to: format), x = tensor("x", [61, 352])
        Runtime.withPrecision(.int8) {
            let together = x.linear(w).values()
            let apart = [0..<1, 1..<9, 9..<20, 20..<61].flatMap { x.rows($0).linear(w).values() }
            expectEqual(together, apart)
        }
        // Otherwise only few rows are rounded to 8 bits
        let many = x.linear(w).values(), few = x.rows(0..<Runtime.fewRows).linear(w).values()
        #expect(Array(many.prefix(few.count)) != few)
    }

    @Test("where prompts are read, rows are near, none depends on another, few are as ever", arguments: formats)
    func prompts(_ format: DType) {
        let w = tensor("w", [200, 352]).converted(to: format), x = tensor("x", [61, 352])
        let exact = Runtime.withPrecision(.f32) { x.linear(w.converted(to: .f32)) }
        let few = x.rows(0..<Runtime.fewRows).linear(w).values(), plain = x.linear(w).values()
        let full = Runtime.withPrecision(.f32) { x.linear(w).values() }
        Runtime.withByteProducts {
            let together = x.linear(w)
            expectClose(together.values(), exact.values(), absolute: 0.1, relative: 0.02)
            let apart = [0..<9, 9..<20, 20..<61].flatMap { x.rows($0).linear(w).values() }
            expectEqual(together.values(), apart)
            #expect(x.linear([w, w]).map { $0.values() } == [apart, apart])
            expectEqual(x.rows(0..<Runtime.fewRows).linear(w).values(), few)
            expectEqual(Runtime.withPrecision(.f32) { x.linear(w).values() }, full)
        }
        expectEqual(x.linear(w).values(), plain)
    }

    @Test("where bytes are allowed, are bytes in `auto` alone; results and rows in bf16 are those of f32, rounded")
    func narrow() {
        // Several parts of k, of the rows and of the columns
        for (outputs, inputs, rows) in [(75, 352, 61), (200, 1120, 520)] {
            let x = tensor("x", [rows, inputs]).converted(to: .bf16), wide = x.converted(to: .f32)
            let weights = [DType.q4_1, .q8_0].map { tensor("w", [outputs, inputs]).converted(to: $0) }
            let plain = x.linear(weights).map { $0.values() }
            Runtime.withByteProducts {
                let exact = wide.linear(weights)
                let isRounded = exact[0].values() != Runtime.withPrecision(.bf16) { wide.linear(weights[0]).values() }
                #expect(isRounded == Runtime.shared.takesBytesForManyRows)
                for (found, exact) in zip(x.linear(weights), exact) {
                    #expect(found.dtype == .bf16)
                    if isRounded { expectEqual(found, exact.converted(to: .bf16)) }
                }
                expectEqual(Runtime.withPrecision(.bf16) { x.linear(weights).map { $0.values() } }, plain)
                expectEqual(Runtime.withByteProducts(false) { x.linear(weights).map { $0.values() } }, plain)
            }
        }
    }

    @Test("of a group, dense weights among them, equal each alone", arguments: [3, 40])
    func groups(rows: Int) {
        let x = tensor("x", [rows, 96])
        let weights = [DType.q4_1, .f32, .q8_0, .bf16, .q4_1].enumerated().map { index, format in
            tensor("w\(index)", [33 + 16 * index, 96]).converted(to: format)
        }
        for precision in [Precision.automatic, .int8] {
            Runtime.withPrecision(precision) {
                let alone = weights.map { x.linear($0).values() }
                expectEqual(x.linear(weights).map { $0.values() }, alone)
            }
        }
    }

    @Test("of parts of one storage take the parts' own packed forms")
    func parts() {
        let w = tensor("w", [96, 64]).converted(to: .q8_0), x = tensor("x", [2, 64])
        let whole = x.linear(w).values()
        let parts = [0..<10, 10..<96].map { x.linear(w.rows($0)) }
        expectEqual(Array(whole[0..<10]), Array(parts[0].values()[0..<10]))
        expectEqual(Array(whole[10..<96]), Array(parts[1].values()[0..<86]))
        #expect(w.storage === w.rows(3..<9).storage)
    }

    @Test("are made of one packed form, however many ask for it at once")
    func formsAreShared() async {
        let w = tensor("w", [512, 256]).converted(to: .q4_1)
        let forms = await withTaskGroup(of: ObjectIdentifier.self) { group in
            for _ in 0..<8 {
                group.addTask {
                    let threads = Runtime.shared.threads
                    return ObjectIdentifier(w.storage.packedForms.form(of: w, threads: threads))
                }
            }
            return await group.reduce(into: Set<ObjectIdentifier>()) { $0.insert($1) }
        }
        #expect(forms.count == 1)
    }

    @Test("give a followed input the gradient of what the weights stand for", arguments: formats, [5, 20])
    func gradients(_ format: DType, rows: Int) {
        let w = tensor("w", [48, 64]).converted(to: format), x = tensor("x", [rows, 64]), c = tensor("c", [rows, 48])
        let plain = w.converted(to: .f32)
        Runtime.withPrecision(.f32) {
            func loss(_ weight: Tensor) -> (value: Tensor, gradients: [Tensor]) {
                valueAndGradients(at: [x]) { ($0[0].linear(weight) * c).sum() }
            }
            let (found, expected) = (loss(w), loss(plain))
            expectClose(found.gradients[0].values(), expected.gradients[0].values(), absolute: 1e-5, relative: 1e-5)
        }
    }
}
