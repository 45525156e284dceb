import CMoruKernels
import Foundation
import Testing

@Suite("Elementwise functions, reductions, AdamW")
struct ElementwiseTests {
    static let ranges = [(0, 0), (0, 1), (3, 4), (0, 16), (5, 38), (1, 1000)]

    /// Applies a function to a range of 1024 elements; the rest must stay as it was.
    func check(
        _ what: String, tolerance: Double = 2e-6, kernel: (inout [Float], Int, Int) -> Void, formula: (Int) -> Double
    ) {
        for (begin, end) in Self.ranges {
            var y = [Float](repeating: 7, count: 1024)
            kernel(&y, begin, end)
            let expected = (0..<1024).map { $0 >= begin && $0 < end ? formula($0) : 7 }
            expectClose(y, expected, tolerance: tolerance, "\(what) \(begin)..<\(end)")
        }
    }

    @Test("Arithmetic", arguments: Level.all)
    func arithmetic(_ level: Level) {
        var random = Random(1)
        let a = random.floats(1024), b = random.floats(1024), f = level.functions
        check("add") {
            f.add(a, b, &$0, $1, $2)
        } formula: {
            Double(a[$0]) + Double(b[$0])
        }
        check("subtract") {
            f.subtract(a, b, &$0, $1, $2)
        } formula: {
            Double(a[$0]) - Double(b[$0])
        }
        check("multiply") {
            f.multiply(a, b, &$0, $1, $2)
        } formula: {
            Double(a[$0]) * Double(b[$0])
        }
        check("scale") {
            f.scale(a, 1.5, &$0, $1, $2)
        } formula: {
            Double(a[$0]) * 1.5
        }
        check("add_scaled") {
            f.add_scaled(a, -2.5, &$0, $1, $2)
        } formula: {
            7 - 2.5 * Double(a[$0])
        }
    }

    func sigmoid(_ x: Double) -> Double { 1 / (1 + exp(-x)) }
    func siluSlope(_ x: Double) -> Double { sigmoid(x) * (1 + x * (1 - sigmoid(x))) }

    func gelu(_ x: Double, _ tanhForm: Bool) -> Double {
        let inner = tanhForm ? tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)) : erf(x / 2.0.squareRoot())
        return 0.5 * x * (1 + inner)
    }

    @Test("Activation functions and their gradients", arguments: Level.all)
    func activations(_ level: Level) {
        var random = Random(2)
        var x = random.floats(1024, -12...12)
        x.replaceSubrange(10..<20, with: [0, -0, 90, -90, 200, -200, 1e4, -1e4, 1e-20, 30])
        let dy = random.floats(1024), f = level.functions
        check("silu") {
            f.silu(x, &$0, $1, $2)
        } formula: {
            Double(x[$0]) * sigmoid(Double(x[$0]))
        }
        check("silu backward") {
            f.silu_backward(dy, x, &$0, $1, $2)
        } formula: {
            Double(dy[$0]) * siluSlope(Double(x[$0]))
        }
        for cap in [Float(30), 0.5] {
            // tanh is exact to some 1e-7 of 1
            check("softcap", tolerance: 2e-7 * Double(max(cap, 10))) {
                f.softcap(x, cap, &$0, $1, $2)
            } formula: {
                Double(cap) * tanh(Double(x[$0]) / Double(cap))
            }
            let y = x.map { cap * tanh($0 / cap) }
            check("softcap backward") {
                f.softcap_backward(dy, y, cap, &$0, $1, $2)
            } formula: {
                Double(dy[$0]) * (1 - pow(Double(y[$0]) / Double(cap), 2))
            }
        }
        check("relu") {
            f.relu(x, &$0, $1, $2)
        } formula: {
            max(0, Double(x[$0]))
        }
        check("relu backward") {
            f.relu_backward(dy, x, &$0, $1, $2)
        } formula: {
            x[$0] > 0 ? Double(dy[$0]) : 0
        }
        check("tanh") {
            f.tanh(x, &$0, $1, $2)
        } formula: {
            Foundation.tanh(Double(x[$0]))
        }
        check("tanh backward") {
            f.tanh_backward(dy, x, &$0, $1, $2)
        } formula: {
            Double(dy[$0]) * (1 - pow(Foundation.tanh(Double(x[$0])), 2))
        }
        for tanhForm in [false, true] {
            check("gelu") {
                f.gelu(x, &$0, tanhForm, $1, $2)
            } formula: {
                gelu(Double(x[$0]), tanhForm)
            }
            let h = 1e-5
            check("gelu backward", tolerance: 4e-6) {
                f.gelu_backward(dy, x, &$0, tanhForm, $1, $2)
            } formula: {
                let v = Double(x[$0])
                return Double(dy[$0]) * (gelu(v + h, tanhForm) - gelu(v - h, tanhForm)) / (2 * h)
            }
        }
    }

    @Test("Reductions", arguments: Level.all)
    func reductions(_ level: Level) {
        var random = Random(3)
        var x = random.floats(5000)
        let f = level.functions
        for (begin, end) in Self.ranges + [(7, 5000)] {
            let part = x[begin..<end].map(Double.init)
            #expect(abs(f.sum(x, begin, end) - part.reduce(0, +)) < 1e-10)
            #expect(abs(f.sum_of_squares(x, begin, end) - part.reduce(0) { $0 + $1 * $1 }) < 1e-10)
            #expect(f.all_finite(x, begin, end))
            let best = x[begin..<end].max()
            #expect(f.argmax(x, begin, end) == (best.flatMap { x[begin..<end].firstIndex(of: $0) } ?? begin))
        }
        for bad: Float in [.infinity, -.infinity, .nan] {
            for at in [7, 8, 4095, 4999] {
                let kept = x[at]
                x[at] = bad
                #expect(!f.all_finite(x, 7, 5000) && f.all_finite(x, 0, 7) && f.all_finite(x, at + 1, 5000))
                x[at] = kept
            }
        }
    }

    @Test("The largest: the first of equals, NaNs passed over", arguments: Level.all)
    func argmax(_ level: Level) {
        let f = level.functions
        var x = [Float](repeating: 1, count: 300)
        #expect(f.argmax(x, 3, 300) == 3)
        x[77] = 2
        x[93] = 2
        x[299] = 2
        x[5] = .nan
        #expect(f.argmax(x, 0, 300) == 77 && f.argmax(x, 78, 300) == 93 && f.argmax(x, 94, 300) == 299)
        let low = [Float](repeating: -.infinity, count: 100)
        #expect(f.argmax(low, 0, 100) == 0 && f.argmax(low, 9, 100) == 9)
        var lost = [Float](repeating: .nan, count: 100)
        #expect(f.argmax(lost, 0, 100) == 0)
        lost[60] = -.infinity
        #expect(f.argmax(lost, 0, 100) == 60)
    }

    @Test("AdamW follows its definition over several steps", arguments: Level.all)
    func adamw(_ level: Level) {
        var random = Random(6)
        let count = 77
        var parameter = random.floats(count), m = [Float](repeating: 0, count: count), v = m
        var p64 = doubles(parameter), m64 = doubles(m), v64 = doubles(v)
        for step in 1...5 {
            let gradient = random.floats(count)
            var args = moru_adamw(
                learning_rate: 0.01, beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weight_decay: 0.1,
                bias_correction1: Float(1 - pow(0.9, Double(step))),
                bias_correction2: Float(1 - pow(0.95, Double(step))),
                gradient_scale: 0.5)
            level.functions.adamw(&args, &parameter, gradient, &m, &v, 0, 30)
            level.functions.adamw(&args, &parameter, gradient, &m, &v, 30, count)
            for i in 0..<count {
                let g = 0.5 * Double(gradient[i])
                m64[i] = 0.9 * m64[i] + 0.1 * g
                v64[i] = 0.95 * v64[i] + 0.05 * g * g
                let mHat = m64[i] / (1 - pow(0.9, Double(step))), vHat = v64[i] / (1 - pow(0.95, Double(step)))
                p64[i] -= 0.01 * (mHat / (vHat.squareRoot() + 1e-8) + 0.1 * p64[i])
            }
        }
        expectClose(parameter, p64, tolerance: 3e-6)
        expectClose(m, m64, tolerance: 1e-6)
        expectClose(v, v64, tolerance: 1e-6)
    }
}
