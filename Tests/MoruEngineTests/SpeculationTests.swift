import MoruBase
import MoruModels
import MoruTensor
import MoruTestKit
import Testing

@testable import MoruEngine

@Suite("Speculation by prompt lookup")
struct SpeculationTests {
    @Test("a guess is what followed the last tokens when they last occurred")
    func guesses() {
        var lookup = PromptLookup([1, 2, 3, 4, 5, 6, 9, 2, 3, 4, 5])
        #expect(lookup.guess(3)?.tokens == [6, 9, 2])
        lookup.append(6)
        #expect(lookup.guess(2)?.tokens == [9, 2])
        lookup.append(70)
        #expect(lookup.guess(3) == nil)
        lookup.append(9)
        // A match of two is enough to find the way back
        lookup.append(2)
        #expect(lookup.guess(4)?.tokens == [3, 4, 5, 6])
        #expect(lookup.guess(0) == nil)
    }

    @Test("of several earlier places the latest counts, and a repetition goes on beyond what is known")
    func repetition() {
        #expect(PromptLookup([1, 2, 7, 1, 2, 8, 1, 2]).guessed(1) == [8])
        #expect(PromptLookup([5, 1, 2, 3, 1, 2, 3]).guessed(7) == [1, 2, 3, 1, 2, 3, 1])
        #expect(PromptLookup([4, 4, 4]).guessed(3) == [4, 4, 4])
        #expect(PromptLookup([4]).guessed(3) == nil && PromptLookup([]).guessed(3) == nil)
    }

    @Test("confidence follows what was right, and recovers slowly when nothing is tried")
    func confidence() throws {
        var lookup = PromptLookup([4, 4, 4, 4, 4, 4])
        func guess() throws -> PromptLookup.Guess {
            let guess = lookup.guess(4)
            return try #require(guess)
        }
        let first = try guess().confidence
        for _ in 0..<30 { lookup.note(try guess(), tried: 4, right: 0) }
        let low = try guess().confidence
        #expect(low < 0.05 && low < first)
        for _ in 0..<1000 { lookup.note(try guess(), tried: 0, right: 0) }
        #expect(try guess().confidence > 0.7)
        for _ in 0..<30 { lookup.note(try guess(), tried: 4, right: 4) }
        #expect(try guess().confidence > 0.99)
    }

    @Test("as many guesses are verified as promise the most tokens a second")
    func plans() {
        typealias Candidate = SpeculationPlanner.Candidate
        var planner = SpeculationPlanner(maximumRows: 8)
        func plan(_ candidates: Candidate..., rows: Int? = nil) -> [Int] {
            planner.plan(candidates, rows: rows ?? candidates.count)
        }
        for rows in 1...8 { planner.note(rows: rows, seconds: 1 + 0.1 * Double(rows - 1)) }
        #expect(plan(Candidate(confidence: 1, count: 7)) == [7])
        #expect(plan(Candidate(confidence: 1, count: 3)) == [3])
        #expect(plan(Candidate(confidence: 0.05, count: 7)) == [0])
        #expect((1...4).contains(plan(Candidate(confidence: 0.5, count: 7))[0]))
        // What is left of a pass goes to the one that is likelier right
        #expect(plan(Candidate(confidence: 0.02, count: 7), Candidate(confidence: 0.95, count: 7)) == [0, 6])
        #expect(plan(Candidate(confidence: 1, count: 7), rows: 8) == [0])
        #expect(plan() == [])
        // Where rows are dear, nothing is worth it
        planner = SpeculationPlanner(maximumRows: 8)
        for rows in 1...8 { planner.note(rows: rows, seconds: Double(rows)) }
        #expect(plan(Candidate(confidence: 0.99, count: 7)) == [0])
        // One slow pass does not change the picture
        planner = SpeculationPlanner(maximumRows: 8)
        for rows in 1...8 { planner.note(rows: rows, seconds: 1) }
        planner.note(rows: 8, seconds: 100)
        #expect(plan(Candidate(confidence: 1, count: 7)) == [7])
    }

    private func answer(
        _ request: GenerationRequest, _ model: any LanguageModel, _ speculation: Speculation
    ) async throws -> (answer: Answer, statistics: EngineStatistics) {
        let engine = try Engine(model: model, configuration: EngineConfiguration(speculation: speculation))
        let answer = try await engine.answer(request)
        return (answer, await engine.statistics)
    }

    @Test("what repeats itself takes fewer steps, and ends where it would have ended")
    func fewerSteps() async throws {
        let model = ScriptedModel(vocabularySize: 8) { token, _ in (token + 1) % 8 }
        for (count, ends) in [(200, []), (61, []), (200, [5])] as [(Int, Set<Int32>)] {
            let prompt: [Int32] = ends.isEmpty ? [0, 1, 2, 3, 4, 5, 6, 7, 0, 1] : [0, 1, 2, 3, 4, 0, 1, 2]
            let request = GenerationRequest(prompt: prompt, maximumTokens: count, endIDs: ends)
            let (plain, slow) = try await answer(request, model, .off)
            let (guessed, fast) = try await answer(request, model, .lookup)
            #expect(plain.ids == guessed.ids && plain.reason == guessed.reason)
            #expect(slow.speculation == SpeculationCounts() && plain.usage?.speculation == SpeculationCounts())
            #expect(guessed.usage?.speculation == fast.speculation)
            guard ends.isEmpty else { continue }
            #expect(fast.steps < slow.steps && fast.speculation.accepted > 0)
            #expect(fast.speculation.accepted <= fast.speculation.proposed)
            #expect(fast.generatedTokens == count && slow.steps == count)
        }
    }

    @Test("wrong guesses leave no trace in the cache: tokens and log-probabilities are the same, bit for bit")
    func exact() async throws {
        for (seed, dtype) in [(1, DType.f32), (2, .q4_1), (3, .bf16)] as [(UInt64, DType)] {
            let model = try TestModels.tinyLlama(seed: seed)
            for layer in model.linears where layer.inputs % 32 == 0 {
                layer.weight.value = layer.weight.value.converted(to: dtype)
            }
            var random = RandomGenerator(seed: seed)
            var accepted = 0
            var proposed = 0
            for temperature in [0, 0.2, 1] as [Float] {
                // Few different tokens repeat themselves, and often go on in another way than before
                let prompt = (0..<20).map { _ in Int32.random(in: 0..<4, using: &random) }
                let bias = Dictionary(uniqueKeysWithValues: (0..<4).map { (Int32($0), Float(3)) })
                let request = GenerationRequest(
                    prompt: prompt,
                    sampling: SamplingParameters(
                        temperature: temperature, repetitionPenalty: 1.05, frequencyPenalty: 0.01, logitBias: bias,
                        seed: seed),
                    maximumTokens: 100, logProbabilities: 2)
                let plain = try await answer(request, model, .off)
                let guessed = try await answer(request, model, .lookup)
                #expect(plain.answer.tokens == guessed.answer.tokens, "\(dtype) at temperature \(temperature)")
                accepted += guessed.statistics.speculation.accepted
                proposed += guessed.statistics.speculation.proposed
            }
            #expect(proposed > accepted && accepted > 0, "\(dtype): \(accepted) of \(proposed)")
        }
    }
}

extension PromptLookup {
    fileprivate func guessed(_ most: Int) -> [Int32]? {
        var lookup = self
        return lookup.guess(most)?.tokens
    }
}
