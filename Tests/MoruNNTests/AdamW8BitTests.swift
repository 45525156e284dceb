import Foundation
import MoruBase
import MoruNN
import MoruTensor
import MoruTestKit
import Testing

@Suite struct AdamW8BitTests {
    private static func gradient(_ step: Int, _ shape: [Int]) -> Tensor {
        let values = Deterministic.tensor("gradient.\(step)", shape, scale: 2).values()
        return Tensor(
            values.enumerated().map { $1 * $1 * $1 * Float(pow(10, -Double($0 / shape[1] % 5))) }, shape: shape)
    }

    /// Codes and scales of a moment.
    private static func blocks(_ moment: Tensor) -> (codes: [UInt8], scales: [Float]) {
        var (codes, scales): ([UInt8], [Float]) = ([], [])
        for block in 0..<moment.shape[0] {
            let bytes = UnsafeRawBufferPointer(start: moment.bytes + block * 260, count: 260)
            scales.append(bytes.loadUnaligned(as: Float.self))
            codes += bytes.dropFirst(4)
        }
        return (codes, scales)
    }

    /// `scripts/goldens/optimizer_8bit.py`.
    @Test(.tags(.golden)) func roundsAndMovesAsDefined() throws {
        let golden = try Goldens.json("optimizer_8bit.json")
        let sample = try #require(golden["sample"]?.int)
        let shape = [70, 61]
        let parameter = Parameter("matrix", Deterministic.tensor("matrix", shape, scale: 2))
        var optimizer = AdamW8Bit([parameter], AdamW.Configuration(beta2: 0.98, weightDecay: 0.1))
        for step in 1...(try #require(golden["steps"]?.int)) {
            optimizer.update([Self.gradient(step, shape)], learningRate: 0.02)
        }
        // A moment within rounding of a bound between two levels may come out on either side of it
        func expectNearlyAll(_ found: [Float], _ key: String, relative: Float, few: Int, most: Float) throws {
            let wanted = try #require(golden[key]?.floats)
            #expect(found.count == wanted.count)
            let far = zip(found, wanted).map { abs($0 - $1) / max(abs($1), 1e-3) }
            #expect(far.count { $0 > relative } <= few && far.allSatisfy { $0 <= most }, "\(key): \(far.max() ?? 0)")
        }
        let values = parameter.value.values()
        let sampled = stride(from: 0, to: values.count, by: sample)
        try expectNearlyAll(sampled.map { values[$0] }, "parameter", relative: 2e-5, few: 2, most: 0.05)
        for (name, key) in [("first", "first_moment_8bit"), ("second", "second_moment_8bit")] {
            let moment = try #require(optimizer.state.first { $0.name == "matrix.\(key)" }).tensor
            #expect(moment.shape == [17, 65] && moment.dtype == .i32)
            let (codes, scales) = Self.blocks(moment)
            try expectNearlyAll(sampled.map { Float(codes[$0]) }, "\(name)_codes", relative: 0, few: 2, most: 1)
            expectClose(scales, try #require(golden["\(name)_scales"]?.floats), absolute: 1e-12, relative: 1e-4)
            // Behind the last element
            #expect(codes.dropFirst(values.count).allSatisfy { $0 == 0 } && codes.count == 17 * 256)
        }
    }

    @Test func smallTensorsAndVectorsMoveAsInF32() {
        func parameters() -> [Parameter] {
            [("small", [63, 65]), ("vector", [5000]), ("large", [64, 64])].map {
                Parameter($0, Deterministic.tensor($0, $1))
            }
        }
        let (exact, rounded) = (parameters(), parameters())
        var (adamw, adamw8Bit) = (AdamW(exact), AdamW8Bit(rounded))
        for step in 0..<4 {
            let gradients = exact.map { Deterministic.tensor("\($0.path).\(step)", $0.value.shape) }
            adamw.update(gradients, learningRate: 0.01)
            adamw8Bit.update(gradients, learningRate: 0.01)
        }
        for index in 0..<2 { expectEqual(exact[index].value, rounded[index].value) }
        let moved = exact[2].value.values()
        #expect(moved != rounded[2].value.values())
        expectClose(rounded[2].value.values(), moved, absolute: 4e-3)
        let settings = OptimizerSettings(.adamw8Bit)
        #expect(settings.stateBytes(of: rounded) == 8 * (63 * 65 + 5000) + 2 * 16 * 260)
        #expect(adamw8Bit.state.map(\.tensor.byteCount).reduce(0, +) == settings.stateBytes(of: rounded))
    }

    /// What others hold of it does not change, and a restored optimizer goes on to the same bits.
    @Test func goesOnFromItsState() throws {
        let shape = [90, 50]
        let reference = Parameter("w", Deterministic.tensor("w", shape))
        var optimizer = AdamW8Bit([reference])
        for step in 0..<3 { optimizer.update([Self.gradient(step, shape)], learningRate: 0.01) }
        let held = optimizer.state
        let before = held.map { Self.blocks($0.tensor).codes }
        let other = Parameter("w", reference.value)
        var restored = AdamW8Bit([other])
        restored.restore(step: 3) { name in held.first { $0.name == name }?.tensor ?? .zeros([]) }
        for step in 3..<6 {
            optimizer.update([Self.gradient(step, shape)], learningRate: 0.01)
            restored.update([Self.gradient(step, shape)], learningRate: 0.01)
        }
        expectEqual(reference.value, other.value)
        #expect(held.map { Self.blocks($0.tensor).codes } == before)
        for (one, two) in zip(optimizer.state, restored.state) {
            #expect(Self.blocks(one.tensor) == Self.blocks(two.tensor))
        }
    }
}
