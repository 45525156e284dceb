import CMoruKernels
import Foundation
import Testing

@Suite("AdamW with moments in 8 bits")
struct MomentTests {
    private static func step(_ number: Int, beta1: Float = 0.9, beta2: Float = 0.95) -> moru_adamw {
        moru_adamw(
            learning_rate: 0.01, beta1: beta1, beta2: beta2, epsilon: 1e-8, weight_decay: 0.1,
            bias_correction1: 1 - pow(beta1, Float(number)), bias_correction2: 1 - pow(beta2, Float(number)),
            gradient_scale: 0.5)
    }

    private struct State {
        var parameter: [Float]
        var first: [UInt8], second: [UInt8]

        init(_ parameter: [Float]) {
            self.parameter = parameter
            first = Array(repeating: 0, count: (parameter.count + 255) / 256 * MemoryLayout<moru_moments>.stride)
            second = first
        }

        mutating func move(_ level: Level, _ args: moru_adamw, _ gradient: [Float], _ ranges: [Range<Int>]) {
            var args = args
            for range in ranges {
                first.withUnsafeMutableBytes { first in
                    second.withUnsafeMutableBytes { second in
                        level.functions.adamw_8bit(
                            &args, &parameter, gradient, first.assumingMemoryBound(to: moru_moments.self).baseAddress,
                            second.assumingMemoryBound(to: moru_moments.self).baseAddress, range.lowerBound,
                            range.upperBound)
                    }
                }
            }
        }

        static func scale(_ moments: [UInt8], _ block: Int) -> Float {
            moments.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: block * 260, as: Float.self) }
        }

        static func code(_ moments: [UInt8], _ element: Int) -> Int {
            Int(moments[element / 256 * 260 + 4 + element % 256])
        }
    }

    /// Of very different sizes, and now and then nothing.
    private static func gradient(_ count: Int, _ random: inout Random) -> [Float] {
        random.floats(count).map { $0 * $0 * $0 * exp(random.floats(1, -9...9)[0]) * (random.int(0...19) == 0 ? 0 : 1) }
    }

    @Test("Random sizes, in any parts, as the scalar reference", arguments: Level.all)
    func agrees(_ level: Level) throws {
        var random = Random(11)
        let scalar = try #require(Level.all.first { $0.functions.level == MORU_CPU_SCALAR })
        for count in [1, 15, 255, 256, 257, 1000, 256 * 3 + 17] {
            var reference = State(random.floats(count))
            var (whole, parts) = (reference, reference)
            for number in 1...6 {
                let (gradient, args) = (Self.gradient(count, &random), Self.step(number))
                reference.move(scalar, args, gradient, [0..<count])
                whole.move(level, args, gradient, [0..<count])
                let cut = random.int(0...(count / 256)) * 256
                parts.move(level, args, gradient, [cut..<count, 0..<cut].filter { !$0.isEmpty })
            }
            #expect(whole.parameter == parts.parameter && whole.first == parts.first && whole.second == parts.second)
            // Products may be fused with sums or not, so that a moment on a bound between levels goes either way
            let far = zip(whole.parameter, reference.parameter).count { abs($0 - $1) > 2e-6 }
            #expect(far <= count / 100, "\(far) of \(count)")
            let codes = zip(whole.first + whole.second, reference.first + reference.second).count { $0 != $1 }
            #expect(codes <= count / 50 + 8, "\(codes) of \(count)")
        }
    }

    /// The first step's moments are multiples of the gradient and of its square.
    @Test("Moments are near what they stand for", arguments: Level.all)
    func rounds(_ level: Level) {
        var random = Random(12)
        let count = 256 * 4 + 100
        let gradient = Self.gradient(count, &random)
        var state = State(random.floats(count))
        state.move(level, Self.step(1), gradient, [0..<count])
        for block in 0...4 {
            let elements = block * 256..<min(count, block * 256 + 256)
            let first = elements.map { 0.05 * Double(gradient[$0]) }
            let second = elements.map { 0.05 * 0.25 * Double(gradient[$0]) * Double(gradient[$0]) }
            for (moments, values, decades) in [(state.first, first, 7), (state.second, second, 8)] {
                let scale = Double(State.scale(moments, block))
                let largest = values.map(abs).max() ?? 0
                for (element, value) in zip(elements, values) {
                    let code = State.code(moments, element)
                    let (k, isNegative) = decades == 7 ? (code & 127, code > 127) : (code, false)
                    // The middle of one of 2^d parts of a power of ten
                    let d = k == 0 ? 0 : Int(log2(Double(k)))
                    let parts = pow(2, Double(d)), power = pow(10, Double(d - decades + 1))
                    let level = k == 0 ? 0 : power * (0.1 + 0.9 * (Double(k) - parts + 0.5) / parts) * scale
                    // What is below the least part is 0, or in the least part where it must not be 0
                    let half = (k == 0 ? 0.28e-6 : k == 1 ? 0.5501 * power : 0.4501 * power / parts) * scale
                    #expect(abs(level - abs(value)) <= half + 1e-6 * abs(value), "\(value) became \(level)")
                    #expect(k == 0 || isNegative == (value < 0))
                    if abs(value) == largest { #expect(abs(level / largest - 1) < 1e-5) }
                    // A root that something is divided by
                    if decades == 8, value > 1e-36 { #expect(k > 0, "\(value)") }
                }
            }
        }
    }

    @Test("What never had a gradient stays, but for its decay", arguments: Level.all)
    func zeros(_ level: Level) {
        var state = State([Float](repeating: 1, count: 300))
        for number in 1...3 {
            state.move(level, Self.step(number), [Float](repeating: 0, count: 300), [0..<300])
        }
        #expect(state.first.allSatisfy { $0 == 0 } && state.second.allSatisfy { $0 == 0 })
        expectClose(state.parameter, [Double](repeating: pow(0.999, 3), count: 300), tolerance: 1e-6)
    }
}
