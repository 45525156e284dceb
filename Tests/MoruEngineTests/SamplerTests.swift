import Foundation
import MoruBase
import MoruTensor
import Testing

@testable import MoruEngine

@Suite("Sampler")
struct SamplerTests {
    private let logits: [Float] = [1.2, -0.3, 2.5, 0.1, 2.0, -1.5, 0.9, 1.6]

    /// The distribution that the parameters stand for, computed the long way: everything sorted, in double precision.
    private func expected(_ logits: [Float], _ parameters: SamplingParameters) -> [Double] {
        let scaled = logits.map { Double($0) / Double(parameters.temperature) }
        let top = scaled.max() ?? 0
        var probabilities = scaled.map { exp($0 - top) }
        func normalize() {
            let sum = probabilities.reduce(0, +)
            probabilities = probabilities.map { $0 / sum }
        }
        normalize()
        if let minP = parameters.minP {
            let floor = Double(minP) * (probabilities.max() ?? 0)
            probabilities = probabilities.map { $0 >= floor ? $0 : 0 }
        }
        let order = probabilities.indices.sorted {
            (probabilities[$0], -$0) > (probabilities[$1], -$1)
        }
        if let topK = parameters.topK { for index in order.dropFirst(topK) { probabilities[index] = 0 } }
        normalize()
        if let topP = parameters.topP {
            var sum = 0.0
            for index in order {
                if sum >= Double(topP) { probabilities[index] = 0 }
                sum += probabilities[index]
            }
        }
        normalize()
        return probabilities
    }

    @Test(
        "draws follow the distribution (chi-square)",
        arguments: [
            SamplingParameters(temperature: 1, seed: 1), SamplingParameters(temperature: 0.5, seed: 2),
            SamplingParameters(temperature: 3, seed: 3), SamplingParameters(temperature: 1, topK: 3, seed: 4),
            SamplingParameters(temperature: 1, topP: 0.7, seed: 5),
            SamplingParameters(temperature: 1, minP: 0.3, seed: 6),
            SamplingParameters(temperature: 2, topK: 5, topP: 0.8, seed: 7),
            SamplingParameters(temperature: 1.5, topP: 0.9, minP: 0.15, seed: 8),
            SamplingParameters(temperature: 1, topK: 1, seed: 9), SamplingParameters(temperature: 1, topP: 1, seed: 10),
        ])
    func distribution(parameters: SamplingParameters) {
        var sampler = Sampler(parameters)
        let draws = 8_000
        var counts = [Double](repeating: 0, count: logits.count)
        let tensor = Tensor(logits, shape: [logits.count])
        for _ in 0..<draws { counts[Int(sampler.next(tensor))] += 1 }
        let expected = expected(logits, parameters).map { $0 * Double(draws) }
        var chiSquare = 0.0
        for (count, wanted) in zip(counts, expected) {
            if wanted == 0 { #expect(count == 0) } else { chiSquare += (count - wanted) * (count - wanted) / wanted }
        }
        // With 7 degrees of freedom, 1 in 100 000 fair samplers exceeds this; with fewer, even fewer do.
        #expect(chiSquare < 37)
    }

    @Test("a fair sampler of another distribution would fail that test")
    func chiSquareCanFail() {
        var sampler = Sampler(SamplingParameters(temperature: 1.1, seed: 1))
        var counts = [Double](repeating: 0, count: logits.count)
        let tensor = Tensor(logits, shape: [logits.count])
        for _ in 0..<8_000 { counts[Int(sampler.next(tensor))] += 1 }
        let expected = expected(logits, SamplingParameters(temperature: 1)).map { $0 * 8_000 }
        #expect(zip(counts, expected).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) / $1.1 } > 37)
    }

    @Test(
        "a large vocabulary: top-p and top-k keep exactly what sorting keeps", arguments: [0.02, 1.0, 4.0] as [Float])
    func largeVocabulary(spread: Float) {
        var random = RandomGenerator(seed: 5)
        let logits = (0..<3000).map { _ in random.normal() * spread }
        for parameters in [
            SamplingParameters(temperature: 1, topP: 0.3, seed: 1),
            SamplingParameters(temperature: 1, topP: 0.95, seed: 1),
            SamplingParameters(temperature: 0.7, topK: 700, topP: 0.99, seed: 1),
            SamplingParameters(temperature: 1, topP: 0.9, minP: 0.01, seed: 1),
        ] {
            let expected = expected(logits, parameters)
            let probabilities = Tensor(logits.map { $0 / parameters.temperature }, shape: [logits.count]).softmax()
            let values = probabilities.values()
            let kept = values.withUnsafeBufferPointer {
                Sampler(parameters).likeliest($0, floor: (parameters.minP ?? 0) * (values.max() ?? 0))
            }
            // A token at the very edge may fall on either side by rounding.
            let wanted = expected.indices.filter { expected[$0] > 0 }
            #expect(Set(kept.map(\.index)).symmetricDifference(wanted).count <= 2)
            #expect(zip(kept, kept.dropFirst()).allSatisfy { $0.value >= $1.value })
            var sampler = Sampler(parameters)
            let tensor = Tensor(logits, shape: [logits.count])
            for _ in 0..<20 { #expect(expected[Int(sampler.next(tensor))] > 0) }
        }
    }

    @Test("temperature 0 takes the likeliest, of equal ones the first")
    func greedy() {
        var sampler = Sampler(SamplingParameters())
        #expect(sampler.next(Tensor(logits, shape: [8])) == 2)
        #expect(sampler.next(Tensor([1, 3, 3, 2], shape: [4])) == 1)
        #expect(sampler.next(Tensor([-5, -7], shape: [2])) == 0)
    }

    @Test("a tiny temperature is as good as greedy and stays finite")
    func tinyTemperature() {
        var sampler = Sampler(SamplingParameters(temperature: 1e-30, seed: 1))
        for _ in 0..<50 { #expect(sampler.next(Tensor(logits, shape: [8])) == 2) }
    }

    @Test("the repetition penalty sees prompt and output; it divides positive logits and multiplies negative ones")
    func repetitionPenalty() {
        var sampler = Sampler(SamplingParameters(repetitionPenalty: 2), prompt: [0])
        // 0: 4 / 2 = 2; then 1: 3 / 2 = 1.5, and so on
        #expect(sampler.next(Tensor([4, 3, 1.8], shape: [3])) == 1)
        #expect(sampler.next(Tensor([4, 3, 1.8], shape: [3])) == 0)
        #expect(sampler.next(Tensor([-1, -1.5, -1.9], shape: [3])) == 2)
    }

    @Test("presence counts once, frequency each time, and neither sees the prompt")
    func presenceAndFrequency() {
        var presence = Sampler(SamplingParameters(presencePenalty: 1), prompt: [0, 0])
        let chosen = (0..<4).map { _ in presence.next(Tensor([5, 4.5, 1], shape: [3])) }
        #expect(chosen == [0, 1, 0, 0])
        var frequency = Sampler(SamplingParameters(frequencyPenalty: 1), prompt: [0, 0])
        let others = (0..<4).map { _ in frequency.next(Tensor([5, 4.5, 1], shape: [3])) }
        #expect(others == [0, 1, 0, 1])
    }

    @Test("logit bias is added before the penalties")
    func logitBias() {
        var sampler = Sampler(SamplingParameters(logitBias: [1: 10, 0: -100]))
        #expect(sampler.next(Tensor([5, 4, 13], shape: [3])) == 1)
        // with the bias first, token 1 has (4 + 10) / 2 = 7; after it, 4 / 2 + 10 = 12
        var both = Sampler(SamplingParameters(repetitionPenalty: 2, logitBias: [1: 10]), prompt: [1])
        #expect(both.next(Tensor([8, 4, 0], shape: [3])) == 0)
    }

    @Test("the same seed draws the same tokens, another seed others")
    func seeds() {
        func draws(_ seed: UInt64?) -> [Int32] {
            var sampler = Sampler(SamplingParameters(temperature: 2, seed: seed))
            return (0..<40).map { _ in sampler.next(Tensor(logits, shape: [8])) }
        }
        #expect(draws(11) == draws(11))
        #expect(draws(11) != draws(12))
        #expect(draws(nil) != draws(nil))
    }

    @Test("the largest values are those that sorting finds", arguments: 0..<30)
    func largestValues(seed: Int) {
        var random = RandomGenerator(seed: UInt64(seed))
        // Few distinct values: ties matter.
        let values = (0..<Int.random(in: 1...300, using: &random)).map { _ in
            Float(Int.random(in: -9...9, using: &random))
        }
        let floor = Float(Int.random(in: -12...8, using: &random))
        let count = Int.random(in: 0...320, using: &random)
        let sorted = values.indices.filter { values[$0] >= floor }
            .sorted { (values[$0], -$0) > (values[$1], -$1) }.prefix(count)
        let found = values.withUnsafeBufferPointer { largest(count, of: $0, atLeast: floor) }
        #expect(found.map(\.index) == Array(sorted))
        #expect(found.map(\.value) == sorted.map { values[$0] })
    }

    @Test("the maximum is found, and anything not finite is noticed wherever it stands")
    func maximumAndFiniteness() {
        for count in [1, 5, 16, 17, 33, 100] {
            for place in 0..<count {
                var values = (0..<count).map { Float(-$0) - 1 }
                values[place] = 3
                let found = values.withUnsafeBufferPointer { maximum(of: $0) }
                #expect(found.index == place && found.value == 3 && found.allFinite)
                for bad in [Float.nan, .infinity, -.infinity] {
                    values[place] = bad
                    #expect(!values.withUnsafeBufferPointer { maximum(of: $0) }.allFinite)
                }
            }
        }
    }

    @Test("log-probabilities are those of the softmax, alternatives likeliest first")
    func tokenScores() {
        let rows = logits + logits.map { -$0 }
        let found = scores(Tensor(rows, shape: [2, 8]), [6, 2], top: 3)
        let first = expected(logits, SamplingParameters(temperature: 1)).map { Float(log($0)) }
        let second = expected(logits.map { -$0 }, SamplingParameters(temperature: 1)).map { Float(log($0)) }
        #expect(abs((found[0].logProbability ?? 0) - first[6]) < 1e-5)
        #expect(abs((found[1].logProbability ?? 0) - second[2]) < 1e-5)
        #expect(found[0].top.map(\.id) == [2, 4, 7])
        #expect(found[1].top.map(\.id) == [5, 1, 3])
        for pair in found[0].top { #expect(abs(pair.logProbability - first[Int(pair.id)]) < 1e-5) }
    }

    @Test(
        "settings out of range are refused by name",
        arguments: [
            ("temperature", SamplingParameters(temperature: -1)),
            ("temperature", SamplingParameters(temperature: .nan)),
            ("top_k", SamplingParameters(topK: 0)), ("top_p", SamplingParameters(topP: 0)),
            ("top_p", SamplingParameters(topP: 1.1)), ("min_p", SamplingParameters(minP: -0.1)),
            ("repetition_penalty", SamplingParameters(repetitionPenalty: 0)),
            ("repetition_penalty", SamplingParameters(repetitionPenalty: 1e-37)),
            ("presence_penalty", SamplingParameters(presencePenalty: 3)),
            ("frequency_penalty", SamplingParameters(frequencyPenalty: -2.5)),
            ("logit_bias", SamplingParameters(logitBias: [100: 1])),
            ("logit_bias", SamplingParameters(logitBias: [1: .infinity])),
        ])
    func validation(name: String, parameters: SamplingParameters) throws {
        let error = #expect(throws: MoruError.self) { try parameters.validate(vocabularySize: 100) }
        #expect(error?.code == .samplingInvalid && error?.message.hasPrefix(name) == true && error?.remedy != nil)
        try SamplingParameters(temperature: 1, topK: 5, topP: 0.9, logitBias: [99: -100]).validate(vocabularySize: 100)
    }
}
