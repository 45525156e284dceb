import MoruBase
import MoruModels
import MoruNN
import MoruTensor
import MoruTestKit
import Testing

@testable import MoruEngine

@Suite("A batched answer equals the same request alone")
struct BatchInvarianceTests {
    /// Requests of all kinds: short and long prompts, greedy and sampled, penalised, scored, adapted.
    private func requests(_ count: Int, adapters: [any Adapter], seed: UInt64) -> [GenerationRequest] {
        var random = RandomGenerator(seed: seed)
        return (0..<count).map { index in
            let prompt = (0..<Int.random(in: 1...70, using: &random)).map { _ in
                Int32.random(in: 0..<64, using: &random)
            }
            let isGreedy = Bool.random(using: &random)
            return GenerationRequest(
                prompt: prompt,
                sampling: SamplingParameters(
                    temperature: isGreedy ? 0 : 0.9, topP: Bool.random(using: &random) ? 0.9 : nil,
                    repetitionPenalty: Bool.random(using: &random) ? 1.2 : 1, seed: UInt64(index)),
                maximumTokens: Int.random(in: 1...25, using: &random), endIDs: [0], logProbabilities: 2,
                promptLogProbabilities: Bool.random(using: &random) ? 0 : nil,
                adapter: adapters.isEmpty || Bool.random(using: &random) ? nil : adapters.randomElement(using: &random))
        }
    }

    private func compare(_ model: any LanguageModel, adapters: [any Adapter] = [], seed: UInt64) async throws {
        let requests = requests(14, adapters: adapters, seed: seed)
        let chunk = 24
        let alone = try await Answer.alone(
            to: requests, model,
            EngineConfiguration(maximumSequences: 1, tokenBudget: 1 + chunk, speculation: .off))
        for sequences in [3, 12] {
            let configuration = EngineConfiguration(maximumSequences: sequences, tokenBudget: sequences + chunk)
            let engine = try Engine(model: model, configuration: configuration)
            try await engine.expectAnswers(alone, to: requests, "with \(sequences) sequences at a time")
        }
    }

    @Test("with f32 weights, bit for bit", arguments: [1, 2] as [UInt64])
    func dense(seed: UInt64) async throws { try await compare(try TestModels.tinyLlama(seed: seed), seed: seed) }

    @Test("with quantised weights, bit for bit", arguments: [DType.q4_1, .q8_0, .bf16])
    func quantised(dtype: DType) async throws {
        let model = try TestModels.tinyLlama(seed: 3)
        for layer in model.linears where layer.inputs % 32 == 0 {
            layer.weight.value = layer.weight.value.converted(to: dtype)
        }
        try await compare(model, seed: 3)
    }

    @Test(
        "with experts that get some of the rows each, adapted or not, bit for bit",
        arguments: [DType.f32, .q8_0, .bf16])
    func experts(dtype: DType) async throws {
        let model = try TestModels.tinyLlama(seed: 5, configuration: TestModels.tinyMixtureConfiguration)
        for layer in model.linears { layer.weight.value = layer.weight.value.converted(to: dtype) }
        let targets = ["up_proj", "down_proj", "v_proj"]
        let adapters: [LoRAAdapter] = try [false, true].map { decomposes in
            let adapter = try LoRAAdapter(
                LoRAConfiguration(rank: 2, targets: targets, decomposesWeights: decomposes),
                adapting: model.linears, seed: 1)
            for pair in adapter.pairs.values { pair.b.value = Deterministic.tensor(pair.b.path, pair.b.value.shape) }
            return adapter
        }
        try await compare(model, adapters: adapters, seed: 5)
    }

    @Test("which is not a matter of course: in a larger batch the backend rounds differently")
    func backendAlone() throws {
        let model = try TestModels.tinyLlama(seed: 3)
        for layer in model.linears where layer.inputs % 32 == 0 {
            layer.weight.value = layer.weight.value.converted(to: .q8_0)
        }
        func hidden(_ sequences: Int) -> [Float] {
            var batch = TokenBatch()
            for _ in 0..<sequences { batch.append([7], cache: model.makeCache()) }
            return Array(model.hiddenStates(batch).values().prefix(model.facts.hiddenSize))
        }
        expectEqual(hidden(1), hidden(Runtime.fewRows))
        #expect(hidden(1) != hidden(Runtime.fewRows + 1))
    }

    @Test("of Gemma, with windows, caps and quantised weights", arguments: TestModels.tinyGemmaConfigurations)
    func gemma(configuration: JSON) async throws {
        let model = try TestModels.tinyLlama(seed: 5, configuration: configuration)
        try await compare(model, seed: 5)
        for layer in model.linears { layer.weight.value = layer.weight.value.converted(to: .q8_0) }
        try await compare(model, adapters: try adapters(of: model), seed: 6)
    }

    @Test("with adapters side by side, bit for bit")
    func adapters() async throws {
        let model = try TestModels.tinyLlama(seed: 4)
        let adapters = try adapters(of: model)
        let request = GenerationRequest(prompt: [1, 2, 3], maximumTokens: 4, logProbabilities: 0)
        var adapted = request
        adapted.adapter = adapters[0]
        let engine = try Engine(model: model)
        #expect(try await engine.answer(request).tokens != engine.answer(adapted).tokens)
        try await compare(model, adapters: adapters, seed: 4)
    }

    private func adapters(of model: any LanguageModel) throws -> [any Adapter] {
        try (0..<2).map { index in
            let adapter = try LoRAAdapter(
                LoRAConfiguration(rank: 4, targets: ["q_proj", "v_proj"]), adapting: model.linears, seed: UInt64(index))
            var random = RandomGenerator(seed: UInt64(index))
            for parameter in adapter.parameters where parameter.path.contains("lora_B") {
                parameter.value = .normal(parameter.value.shape, standardDeviation: 0.5, using: &random)
            }
            return adapter
        }
    }

    @Test("with adapters of every kind side by side, bit for bit")
    func kindsOfAdapters() async throws {
        let model = try TestModels.tinyLlama(seed: 4)
        let facts = model.facts
        let scales = try IA3Adapter(IA3Configuration(), adapting: model.linears)
        for parameter in scales.parameters {
            parameter.value = Deterministic.tensor(parameter.path, parameter.value.shape, scale: 4)
        }
        let decomposed = try LoRAAdapter(
            LoRAConfiguration(rank: 2, targets: ["v_proj", "up_proj"], decomposesWeights: true),
            adapting: model.linears, seed: 1)
        for pair in decomposed.pairs.values { pair.b.value = Deterministic.tensor(pair.b.path, pair.b.value.shape) }
        let keysAndValues = [5, facts.layerCount * 2 * facts.kvHeads * facts.headDim]
        let adapters: [any Adapter] = [
            scales, decomposed, PromptTuningAdapter(Deterministic.tensor("prompt", [11, facts.hiddenSize])),
            PrefixTuningAdapter(
                Deterministic.tensor("prefix", keysAndValues, scale: 2), layerCount: facts.layerCount,
                kvHeads: facts.kvHeads),
        ]
        try await compare(model, adapters: adapters, seed: 9)
        // Served greedily, each gives the tokens that whole sequences give
        let engine = try Engine(model: model)
        for adapter in adapters {
            var request = GenerationRequest(prompt: [1, 2, 3], maximumTokens: 6, logProbabilities: 0)
            request.adapter = adapter
            var known = request.prompt
            for _ in 0..<6 {
                let hidden = model.hiddenStates(TokenBatch([known], adapter: adapter))
                let logits = model.logits(hidden.rows(known.count - 1..<known.count)).values()
                known.append(Int32(logits.firstIndex(of: logits.max() ?? 0) ?? 0))
            }
            #expect(try await engine.answer(request).ids[...] == known.suffix(6))
        }
    }

    @Test("virtual tokens take positions of the context")
    func virtualTokensCount() async throws {
        let model = try TestModels.tinyLlama(seed: 4)
        let engine = try Engine(model: model)
        let length = engine.contextLength
        var request = GenerationRequest(prompt: Array(repeating: 3, count: length - 12), maximumTokens: 20)
        request.adapter = PromptTuningAdapter(Deterministic.tensor("prompt", [10, model.facts.hiddenSize]))
        #expect(try await engine.answer(request).tokens.count == 2)
        request.prompt += [1, 2]
        #expect(try await Engine(model: model).code(request)?.code == .promptTooLong)
        request.adapter = nil
        #expect(try await engine.answer(request).tokens.count == 10)
    }

    @Test("an adapter of another model is refused by name")
    func foreignAdapter() async throws {
        let model = try TestModels.tinyLlama(seed: 4)
        var request = GenerationRequest(prompt: [1], maximumTokens: 1)
        let pair = LoRAPair(
            a: Parameter("a", .zeros([2, 32])), b: Parameter("b", .zeros([32, 2])), scale: 1)
        request.adapter = LoRAAdapter(
            configuration: LoRAConfiguration(), pairs: ["model.layers.9.self_attn.q_proj": pair])
        let missing = try await Engine(model: model).code(request)
        #expect(missing?.code == .adapterMismatch && missing?.message.contains("layers.9") == true)
        request.adapter = LoRAAdapter(
            configuration: LoRAConfiguration(), pairs: ["model.layers.0.self_attn.k_proj": pair])
        #expect(try await Engine(model: model).code(request)?.code == .adapterMismatch)
    }
}
