import MoruBase
import MoruModels
import MoruTensor
import MoruTestKit
import Testing

@testable import MoruEngine

@Suite("Speculation by a draft model")
struct DraftModelTests {
    private func request(_ prompt: Int, temperature: Float, seed: UInt64) -> GenerationRequest {
        GenerationRequest(
            prompt: (0..<prompt).map { Int32(($0 * 11 + Int(seed)) % 60) },
            sampling: SamplingParameters(temperature: temperature, repetitionPenalty: 1.1, seed: seed),
            maximumTokens: 40, endIDs: [0], logProbabilities: 1)
    }

    /// The model, and one whose last layer is a little off, so that it is often right and often wrong.
    private func models() throws -> (model: any LanguageModel, near: any LanguageModel) {
        let (model, near) = (try TestModels.tinyLlama(seed: 7), try TestModels.tinyLlama(seed: 7))
        for layer in near.linears where layer.path.contains("layers.1.") {
            layer.weight.value = layer.weight.value * 0.5
        }
        return (model, near)
    }

    @Test("answers are the same with and without, greedy and with seeds, alone and side by side")
    func sameAnswers() async throws {
        let (model, near) = try models()
        let requests = (0..<6).map { index -> GenerationRequest in
            request(5 + 12 * index, temperature: [0, 0.7, 1][index % 3], seed: UInt64(index))
        }
        let alone = try await Answer.alone(to: requests, model)
        for draft in [model, near, try TestModels.tinyLlama(seed: 8)] {
            for sequences in [1, 3] {
                let engine = try Engine(
                    model: model, configuration: EngineConfiguration(maximumSequences: sequences), draft: draft)
                try await engine.expectAnswers(alone, to: requests)
            }
        }
    }

    @Test("a draft model that is the model itself is always right, with temperature too")
    func perfectDraft() async throws {
        let (model, near) = try models()
        func counts(_ draft: any LanguageModel) -> (SpeculationCounts, [Int32]) {
            let speculator = DraftState(cache: draft.makeCache(.bf16))
            let known: [Int32] = Array(1...20)
            let sampler = Sampler(SamplingParameters(temperature: 0.9, seed: 3), prompt: known)
            let guesses = (try? DraftModel(draft, for: model))?.guess([(speculator, known, sampler, 5)])[0] ?? []
            var verifier = sampler
            var counts = SpeculationCounts()
            let cache = model.makeCache(.bf16)
            for position in 0..<guesses.count {
                var batch = TokenBatch()
                batch.append(position == 0 ? known : [guesses[position - 1]], cache: cache)
                let hidden = model.hiddenStates(batch)
                let right = verifier.next(model.logits(hidden.rows(batch.count - 1..<batch.count))) == guesses[position]
                counts.add(proposed: 1, accepted: right ? 1 : 0)
                if !right { break }
            }
            return (counts, guesses)
        }
        let (own, guesses) = counts(model)
        #expect(guesses.count == 5 && own.accepted == 5)
        #expect(counts(near).1.count == 5)
    }

    @Test("as many tokens are guessed as are worth the draft model's time")
    func lengths() {
        var planner = SpeculationPlanner(maximumRows: 8)
        for rows in 1...8 { planner.note(rows: rows, seconds: 1 + 0.05 * Double(rows - 1)) }
        func length(_ confidences: [Double], rows: Int? = nil, most: Int = 7, seconds: Double = 0.1) -> Int {
            planner.draftLength(confidences, rows: rows ?? confidences.count, most: most, passCost: .seconds(seconds))
        }
        #expect(length([1]) == 7 && length([1], most: 3) == 3)
        #expect(length([0.05]) == 0 && length([0.9], seconds: 2) == 0)
        #expect((1...4).contains(length([0.6])))
        // Rows are shared: with three sequences there is room for one guess each
        #expect(length([1, 1, 1]) == 1 && length([1, 1], rows: 8) == 0)
        #expect(SpeculationPlanner(maximumRows: 8).draftLength([0.9], rows: 1, most: 7, passCost: .share(0.1)) > 0)
    }

    @Test("confidence follows what was right, and the cache forgets what was wrong")
    func state() throws {
        let model = try TestModels.tinyLlama(seed: 7)
        let state = DraftState(cache: model.makeCache(.bf16))
        var batch = TokenBatch()
        batch.append([1, 2, 3, 4, 5, 6], cache: state.cache)
        _ = model.hiddenStates(batch)
        let before = state.confidence
        state.note(known: 3, tried: 4, right: 1)
        #expect(state.cache.count == 4 && state.confidence < before)
        for _ in 0..<100 { state.note(known: 3, tried: 4, right: 0) }
        #expect(state.confidence < 0.01)
        for _ in 0..<1000 { state.rest() }
        #expect(state.confidence > 0.6)
    }

    @Test("its keys and values stay within the memory for keys and values, and answers the same")
    func memory() async throws {
        let (model, near) = try models()
        // All begin alike: the model has the beginning once, the draft model for each of them
        let shared: [Int32] = (0..<64).map { Int32($0 * 5 % 60) }
        let requests = (0..<4).map { index in
            GenerationRequest(prompt: shared + [Int32(index)], maximumTokens: 40, logProbabilities: 1)
        }
        let pageBytes = model.cacheLayout(.bf16).pageBytes + near.cacheLayout(.bf16).pageBytes
        var configuration = EngineConfiguration(maximumSequences: 4, cacheBytes: 6 * pageBytes + pageBytes / 2)
        configuration.minimumSpeculationGain = 0
        let engine = try Engine(model: model, configuration: configuration, draft: near)
        #expect(engine.pageCapacity == 6)
        let plain = try Engine(model: model, configuration: EngineConfiguration(speculation: .off))
        _ = try await engine.answer(requests[0])
        try await withThrowingTaskGroup(of: Void.self) { group in
            for request in requests {
                group.addTask {
                    let (answer, wanted) = (try await engine.answer(request), try await plain.answer(request))
                    #expect(answer.tokens == wanted.tokens)
                }
            }
            try await group.waitForAll()
        }
        let statistics = await engine.statistics
        #expect((2...6).contains(statistics.peakDraftBytes / near.cacheLayout(.bf16).pageBytes))
        #expect(statistics.peakBytes <= 6 * pageBytes + pageBytes / 2)
        #expect(statistics.speculation.proposed > 0 && statistics.draftBytes == 0)
    }

    @Test("a draft model of another vocabulary is refused")
    func foreignVocabulary() throws {
        let (model, foreign) = (try TestModels.tinyLlama(), ScriptedModel(vocabularySize: 20) { token, _ in token })
        #expect(throws: MoruError.self) { try Engine(model: model, draft: foreign) }
        // The tokenizer is asked too
        let pretrained = try TestModels.tinyPretrained()
        #expect(throws: Never.self) { try TextGenerator(pretrained, draft: try TestModels.tinyPretrained()) }
    }
}
