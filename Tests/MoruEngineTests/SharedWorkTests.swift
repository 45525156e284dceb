import MoruBase
import MoruModels
import MoruNN
import MoruTensor
import MoruTestKit
import Testing

@testable import MoruEngine

@Suite("Shared pages, preemption and cancellation change no answer")
struct SharedWorkTests {
    private func adapters(_ model: any LanguageModel) throws -> [any Adapter] {
        let facts = model.facts
        let lora = try LoRAAdapter(
            LoRAConfiguration(rank: 4, targets: ["q_proj", "v_proj", "down_proj"]), adapting: model.linears, seed: 1)
        for pair in lora.pairs.values { pair.b.value = Deterministic.tensor(pair.b.path, pair.b.value.shape, scale: 3) }
        let scales = try IA3Adapter(IA3Configuration(), adapting: model.linears)
        for parameter in scales.parameters {
            parameter.value = Deterministic.tensor(parameter.path, parameter.value.shape, scale: 4)
        }
        let keysAndValues = [70, facts.layerCount * 2 * facts.kvHeads * facts.headDim]
        return [
            lora, scales, PromptTuningAdapter(Deterministic.tensor("prompt", [11, facts.hiddenSize])),
            PrefixTuningAdapter(
                Deterministic.tensor("prefix", keysAndValues, scale: 2), layerCount: facts.layerCount,
                kvHeads: facts.kvHeads),
        ]
    }

    private func requests(_ count: Int, _ adapters: [any Adapter], seed: UInt64) -> [GenerationRequest] {
        var random = RandomGenerator(seed: seed)
        let beginning = (0..<170).map { _ in Int32.random(in: 0..<64, using: &random) }
        return (0..<count).map { index in
            let shared = beginning.prefix([0, 5, 64, 100, 130, 170].randomElement(using: &random) ?? 0)
            let own = (0..<Int.random(in: 1...30, using: &random)).map { _ in Int32.random(in: 0..<64, using: &random) }
            return GenerationRequest(
                prompt: shared + own,
                sampling: SamplingParameters(
                    temperature: Bool.random(using: &random) ? 0 : 0.9,
                    repetitionPenalty: Bool.random(using: &random) ? 1.2 : 1, seed: UInt64(index)),
                maximumTokens: Int.random(in: 1...30, using: &random), endIDs: [0], logProbabilities: 2,
                promptLogProbabilities: Int.random(in: 0...5, using: &random) == 0 ? 1 : nil,
                adapter: Bool.random(using: &random) ? nil : adapters.randomElement(using: &random),
                client: "\(index % 3)")
        }
    }

    private func compare(_ model: any LanguageModel, _ format: CacheFormat, seed: UInt64, adapters: [any Adapter])
        async throws
    {
        let requests = requests(10, adapters, seed: seed)
        let alone = try await Answer.alone(
            to: requests, model, EngineConfiguration(speculation: .off, cacheFormat: format, sharesPrefixes: false))
        let pageBytes = model.cacheLayout(format.dtype).pageBytes
        // Pages for little more than one sequence, and for all
        for (pages, sequences, chunk) in [(7, 4, 17), (400, 16, 500)] {
            let engine = try Engine(
                model: model,
                configuration: EngineConfiguration(
                    maximumSequences: sequences, tokenBudget: sequences + chunk, cacheFormat: format,
                    cacheBytes: pages * pageBytes))
            try await engine.expectAnswers(alone, to: requests, "with \(pages) pages") { index in
                guard index % 3 == 0 else { return }
                // Somebody who reads a little and goes away
                var tokens: [TokenScore] = []
                for try await event in engine.generate(requests[index]) {
                    if case .token(let score) = event { tokens.append(score) }
                    if tokens.count == 3 { break }
                }
                #expect(alone[index].tokens.starts(with: tokens))
            }
            // And once more, when beginnings are known
            for index in [0, 5] {
                let again = try await engine.answer(requests[index]).withoutUsage
                #expect(again == alone[index], "request \(index) again, \(pages) pages")
            }
            let idle = await eventually { await engine.statistics.cacheBytes == 0 }
            let statistics = await engine.statistics
            #expect(idle && statistics.prefixBytes <= pages * pageBytes && statistics.cachedTokens > 0)
        }
    }

    @Test("with adapters of every kind, bit for bit", arguments: [CacheFormat.bf16, .f32])
    func adapters(format: CacheFormat) async throws {
        let model = try TestModels.tinyLlama(seed: 5, contextLength: 512)
        try await compare(model, format, seed: 1, adapters: adapters(model))
    }

    @Test("with quantised weights, bit for bit")
    func quantised() async throws {
        let model = try TestModels.tinyLlama(seed: 6, contextLength: 512)
        for layer in model.linears where layer.inputs % 32 == 0 {
            layer.weight.value = layer.weight.value.converted(to: .q4_1)
        }
        try await compare(model, .bf16, seed: 2, adapters: [])
    }

    @Test("answers that outgrow the pages are computed again, bit for bit")
    func preemption() async throws {
        let model = try TestModels.tinyLlama(seed: 6, contextLength: 512)
        let adapters = try adapters(model)
        let requests = (0..<5).map { (index: Int) -> GenerationRequest in
            let prompt: [Int32] = (0..<50 + index).map { Int32(($0 * 7 + index) % 64) }
            let sampling = SamplingParameters(temperature: index == 0 ? 0 : 0.8, seed: UInt64(index))
            return GenerationRequest(
                prompt: prompt, sampling: sampling, maximumTokens: 130, logProbabilities: 0,
                promptLogProbabilities: index == 4 ? 0 : nil,
                adapter: index == 3 ? adapters[0] : index == 2 ? adapters[2] : nil)
        }
        let alone = try await Answer.alone(to: requests, model)
        for sharesPrefixes in [true, false] {
            let engine = try Engine(
                model: model,
                configuration: EngineConfiguration(
                    maximumSequences: 5, tokenBudget: 60, cacheBytes: 9 * model.cacheLayout(.bf16).pageBytes,
                    sharesPrefixes: sharesPrefixes))
            try await engine.expectAnswers(alone, to: requests)
            let statistics = await engine.statistics
            #expect(statistics.preempted > 0 && statistics.finished == 5)
        }
    }

    @Test("what was computed before is told, and forgotten when asked")
    func cachedTokens() async throws {
        let model = try TestModels.tinyLlama(seed: 5, contextLength: 512)
        let engine = try Engine(model: model)
        let prompt = (0..<150).map { Int32($0 % 60) }
        var request = GenerationRequest(prompt: prompt, maximumTokens: 3)
        let first = try await engine.answer(request)
        #expect(first.usage?.cachedTokens == 0)
        let second = try await engine.answer(request)
        // Two whole pages; of the rest there are too few for a long run beside what is computed
        #expect(second.usage?.cachedTokens == 128 && second.ids == first.ids)
        request.prompt = Array(prompt.prefix(100)) + [61, 62]
        #expect(try await engine.answer(request).usage?.cachedTokens == 93)
        request.reusesPrefixes = false
        #expect(try await engine.answer(request).usage?.cachedTokens == 0)
        request.reusesPrefixes = true
        request.promptLogProbabilities = 0
        #expect(try await engine.answer(request).usage?.cachedTokens == 0)
        let statistics = await engine.statistics
        #expect(statistics.cachedTokens == 128 + 93 && statistics.startedTokens == 2 * 150 + 3 * 102)
        // The model changes
        request = GenerationRequest(prompt: prompt, maximumTokens: 3)
        model.linears[0].weight.value = model.linears[0].weight.value * 3
        await engine.forgetPrefixes()
        let changed = try await engine.answer(request)
        #expect(changed.usage?.cachedTokens == 0)
        #expect(try await Engine(model: model).answer(request).tokens == changed.tokens)
    }

    @Test("a request that can never fit is refused with what there is")
    func neverFits() async throws {
        let model = try TestModels.tinyLlama(seed: 5, contextLength: 512)
        let bytes = 2 * model.cacheLayout(.bf16).pageBytes
        let engine = try Engine(model: model, configuration: EngineConfiguration(cacheBytes: bytes))
        #expect(engine.contextLength == 128)
        let error = await engine.code(GenerationRequest(prompt: Array(repeating: 1, count: 130), maximumTokens: 1))
        #expect(error?.code == .promptTooLong && error?.message.contains("memory for keys and values") == true)
        let answer = try await engine.answer(GenerationRequest(prompt: [1, 2, 3], maximumTokens: 500))
        #expect(answer.tokens.count == 125 && answer.reason == .contextLength)
        #expect(throws: MoruError.self) {
            try Engine(model: model, configuration: EngineConfiguration(cacheBytes: 100))
        }
    }

    @Test("an overloaded engine refuses, and goes on with what it has")
    func overload() async throws {
        let model = try TestModels.tinyLlama(seed: 5, contextLength: 512)
        let engine = try Engine(
            model: model, configuration: EngineConfiguration(maximumSequences: 1, maximumWaitingTokens: 60))
        let request = GenerationRequest(prompt: [1, 2, 3], maximumTokens: 40)
        let outcomes = await withTaskGroup(of: MoruError?.self) { group in
            for _ in 0..<20 { group.addTask { await engine.code(request) } }
            return await group.reduce(into: [MoruError?]()) { $0.append($1) }
        }
        let refused = outcomes.compactMap { $0 }
        #expect(!refused.isEmpty && refused.count < 20)
        #expect(refused.allSatisfy { $0.code == .engineOverloaded && $0.cause is EngineOverload })
        let statistics = await engine.statistics
        #expect(statistics.refused == refused.count && statistics.finished == 20 - refused.count)
        #expect(statistics.waitingTokens == 0)
    }
}
