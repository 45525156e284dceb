import Foundation
import MoruBase
import MoruModels
import MoruNN
import MoruTensor
import MoruTestKit
import Synchronization
import Testing

@testable import MoruEngine

@Suite("Engine")
struct EngineTests {
    private static func counting(_ context: Int = 256, pace: (@Sendable () -> Void)? = nil) -> ScriptedModel {
        ScriptedModel(vocabularySize: 50, contextLength: context, pace: pace) { token, _ in (token + 1) % 50 }
    }

    @Test("greedy generation follows the model until its length, an end token or the context ends it")
    func greedy() async throws {
        let engine = try Engine(model: Self.counting(16))
        let answer = try await engine.answer(GenerationRequest(prompt: [3, 4, 5], maximumTokens: 4))
        #expect(answer.ids == [6, 7, 8, 9] && answer.reason == .length)
        #expect(answer.usage?.promptTokens == 3 && answer.usage?.generatedTokens == 4)
        let ended = try await engine.answer(GenerationRequest(prompt: [3, 4, 5], maximumTokens: 9, endIDs: [1, 8]))
        #expect(ended.ids == [6, 7] && ended.reason == .stop(8) && ended.usage?.generatedTokens == 2)
        let full = try await engine.answer(GenerationRequest(prompt: [3, 4, 5], maximumTokens: Int.max))
        #expect(full.ids == Array(6..<19) && full.reason == .contextLength && full.reason?.name == "length")
    }

    @Test("a prompt longer than the context is refused, and the error says by how much")
    func promptTooLong() async throws {
        let engine = try Engine(model: Self.counting(16))
        let request = GenerationRequest(prompt: Array(repeating: 1, count: 20), maximumTokens: 1)
        let error = await engine.code(request)
        #expect(error?.code == .promptTooLong && error?.code.kind == .invalidInput)
        #expect(error?.message.contains("20 tokens, 5 more") == true && error?.remedy != nil)
        let last = try await engine.answer(GenerationRequest(prompt: Array(0..<15), maximumTokens: 5))
        #expect(last.ids == [15] && last.reason == .contextLength)
        let scored = try await engine.answer(
            GenerationRequest(prompt: Array(0..<16), maximumTokens: 0, promptLogProbabilities: 0))
        #expect(scored.prompt?.count == 16 && scored.reason == .length)
    }

    @Test("requests that no model can take are refused")
    func invalidRequests() async throws {
        let engine = try Engine(model: Self.counting())
        #expect(await engine.code(GenerationRequest(prompt: [], maximumTokens: 1))?.code == .requestInvalid)
        let foreign = await engine.code(GenerationRequest(prompt: [1, 50], maximumTokens: 1))
        #expect(foreign?.code == .requestInvalid && foreign?.message.contains("token 1 is 50") == true)
        #expect(await engine.code(GenerationRequest(prompt: [-1], maximumTokens: 1))?.code == .requestInvalid)
        #expect(await engine.code(GenerationRequest(prompt: [1], maximumTokens: -1))?.code == .requestInvalid)
        let many = GenerationRequest(prompt: [1], maximumTokens: 1, logProbabilities: 101)
        #expect(await engine.code(many)?.code == .requestInvalid)
        let hot = GenerationRequest(prompt: [1], sampling: SamplingParameters(temperature: -1), maximumTokens: 1)
        #expect(await engine.code(hot)?.code == .samplingInvalid)
        #expect(throws: MoruError.self) {
            try Engine(model: Self.counting(), configuration: EngineConfiguration(maximumSequences: 8, tokenBudget: 8))
        }
    }

    @Test("counts that make no sense are refused, however large", arguments: [.min, -1, 0, 1 << 17, .max] as [Int])
    func senselessCounts(count: Int) throws {
        let model = Self.counting()
        var changed = EngineConfiguration()
        changed.changeMaximumSequences(to: count)
        for configuration in [
            changed, EngineConfiguration(maximumSequences: count), EngineConfiguration(tokenBudget: min(count, 0)),
            EngineConfiguration(tokenBudget: max(count, .max)),
        ] {
            let error = #expect(throws: MoruError.self) { try configuration.validate(for: model) }
            #expect(error?.code == .engineConfiguration)
        }
        changed.changeMaximumSequences(to: 32)
        #expect(throws: Never.self) { try changed.validate(for: model) }
    }

    @Test("log-probabilities are the model's own, whatever the sampling")
    func logProbabilities() async throws {
        let logits: [Float] = [0.5, 2, -1, 1]
        let model = ScriptedModel(vocabularySize: 4) { token, _ in logits.map { $0 * Float(token + 1) } }
        let engine = try Engine(model: model)
        let sampling = SamplingParameters(temperature: 3, topK: 2, repetitionPenalty: 1.5, logitBias: [0: 20], seed: 1)
        let answer = try await engine.answer(
            GenerationRequest(
                prompt: [2, 1, 3], sampling: sampling, maximumTokens: 5, logProbabilities: 2, promptLogProbabilities: 1)
        )
        func logProbability(_ id: Int32, after token: Int32) -> Float {
            let scaled = logits.map { Double($0) * Double(token + 1) }
            return Float(scaled[Int(id)] - log(scaled.reduce(0) { $0 + exp($1) }))
        }
        let all = [2, 1, 3] + answer.ids
        let found = try #require(answer.prompt) + answer.tokens
        #expect(found.map(\.id) == all && found[0].logProbability == nil && found[0].top.isEmpty)
        for place in 1..<all.count {
            let wanted = logProbability(all[place], after: all[place - 1])
            #expect(abs((found[place].logProbability ?? 99) - wanted) < 1e-5)
            #expect(found[place].top.first?.id == 1)
            #expect(found[place].top.count == (place < 3 ? 1 : 2))
        }
        let plain = try await engine.answer(GenerationRequest(prompt: [2], maximumTokens: 2))
        #expect(plain.tokens.allSatisfy { $0.logProbability == nil && $0.top.isEmpty } && plain.prompt == nil)
        let single = try await engine.answer(
            GenerationRequest(prompt: [2], maximumTokens: 0, promptLogProbabilities: 0))
        #expect(single.prompt == [TokenScore(id: 2)] && single.reason == .length)
    }

    @Test("requests run together, in the order in which they came")
    func together() async throws {
        let model = Self.counting()
        let engine = try Engine(model: model, configuration: EngineConfiguration(maximumSequences: 4, tokenBudget: 36))
        let streams = (0..<6).map { index in
            engine.generate(GenerationRequest(prompt: [Int32(index), Int32(index)], maximumTokens: 5))
        }
        for (index, stream) in streams.enumerated() {
            var ids: [Int32] = []
            for try await case .token(let score) in stream { ids.append(score.id) }
            #expect(ids == (1...5).map { Int32(index + $0) })
        }
        #expect(model.batches.contains { $0.count > 1 })
        let statistics = await engine.statistics
        #expect(statistics.finished == 6 && statistics.running == 0 && statistics.waiting == 0)
        #expect(statistics.generatedTokens == 30 && statistics.promptTokens == 12 && statistics.cacheBytes == 0)
    }

    @Test("cancelling the reader frees the sequence, and nothing more is computed")
    func cancellation() async throws {
        let model = Self.counting(100_000, pace: { Thread.sleep(forTimeInterval: 0.001) })
        let engine = try Engine(model: model)
        let reader = Task {
            var count = 0
            for try await _ in engine.generate(GenerationRequest(prompt: [1, 2], maximumTokens: 90_000)) { count += 1 }
            return count
        }
        #expect(await eventually { await engine.statistics.generatedTokens > 3 })
        reader.cancel()
        #expect(await eventually { await engine.statistics.running == 0 })
        let statistics = await engine.statistics
        #expect(statistics.cancelled == 1 && statistics.finished == 0)
        try await Task.sleep(for: .milliseconds(30))
        #expect(await engine.statistics.steps == statistics.steps)
        #expect(try await reader.value < 90_000)
        // The engine is as good as new.
        #expect(try await engine.answer(GenerationRequest(prompt: [1], maximumTokens: 2)).ids == [2, 3])
    }

    @Test("dropping the stream frees the sequence too, even while it waits")
    func droppedStream() async throws {
        let model = Self.counting(100_000, pace: { Thread.sleep(forTimeInterval: 0.001) })
        let engine = try Engine(model: model, configuration: EngineConfiguration(maximumSequences: 1, tokenBudget: 18))
        var first: AsyncThrowingStream<GenerationEvent, any Error>? = engine.generate(
            GenerationRequest(prompt: [1, 2], maximumTokens: 90_000))
        var second: AsyncThrowingStream<GenerationEvent, any Error>? = engine.generate(
            GenerationRequest(prompt: [1, 2], maximumTokens: 90_000))
        #expect(await eventually { await engine.statistics.generatedTokens > 1 })
        #expect(first != nil && second != nil)
        second = nil
        #expect(await eventually { await engine.statistics.waiting == 0 })
        #expect(await engine.statistics.running == 1)
        first = nil
        #expect(await eventually { await engine.statistics.running == 0 })
        #expect(await engine.statistics.cancelled == 2)
    }

    @Test("shutting down ends what runs and refuses what comes")
    func shutdown() async throws {
        let engine = try Engine(model: Self.counting(100_000, pace: { Thread.sleep(forTimeInterval: 0.001) }))
        async let running = engine.code(GenerationRequest(prompt: [1, 2], maximumTokens: 90_000))
        #expect(await eventually { await engine.statistics.generatedTokens > 1 })
        await engine.shutdown()
        #expect(await running?.code == .engineShutDown)
        #expect(await engine.code(GenerationRequest(prompt: [1, 2], maximumTokens: 1))?.code == .engineShutDown)
    }

    @Test("a long step does not occupy the threads of other tasks")
    func ownThread() async throws {
        let gate = DispatchSemaphore(value: 0)
        let blocked = Mutex(0)
        let count = ProcessInfo.processInfo.activeProcessorCount + 2
        var streams: [AsyncThrowingStream<GenerationEvent, any Error>] = []
        for _ in 0..<count {
            let model = Self.counting(
                pace: {
                    blocked.withLock { $0 += 1 }
                    gate.wait()
                })
            streams.append(
                try Engine(model: model).generate(GenerationRequest(prompt: [1, 2], maximumTokens: 1)))
        }
        #expect(await eventually { blocked.withLock { $0 } == count })
        // More engines than threads stand still in a step; other tasks still run, this one among them.
        let other = Task.detached { 42 }
        #expect(await other.value == 42)
        for _ in 0..<count { gate.signal() }
        for stream in streams { for try await _ in stream {} }
    }

    @Test("an engine that nobody holds finishes its work and goes")
    func lifetime() async throws {
        weak var engine: Engine?
        func start() throws -> AsyncThrowingStream<GenerationEvent, any Error> {
            let held = try Engine(model: Self.counting())
            engine = held
            return held.generate(GenerationRequest(prompt: [1, 2], maximumTokens: 3))
        }
        var ids: [Int32] = []
        for try await case .token(let score) in try start() { ids.append(score.id) }
        #expect(ids == [3, 4, 5])
        #expect(await eventually { engine == nil })
    }

    @Test("weights that are not finite are named, and only the requests that meet them fail")
    func notFinite() async throws {
        let model = try TestModels.tinyLlama(seed: 1)
        let engine = try Engine(model: model)
        let request = GenerationRequest(prompt: [1, 2, 3], maximumTokens: 3)
        #expect(try await engine.answer(request).ids.count == 3)
        let broken = try TestModels.tinyLlama(seed: 1)
        let parameter = try #require(broken.parameters.first { $0.path.contains("layers.1.mlp") })
        var values = parameter.value.values()
        values[values.count / 2] = .nan
        parameter.value = Tensor(values, shape: parameter.value.shape)
        let error = try await Engine(model: broken).code(request)
        #expect(error?.code == .logitsNotFinite && error?.message.contains(parameter.path) == true)
        let scoring = GenerationRequest(prompt: [1, 2, 3], maximumTokens: 0, promptLogProbabilities: 0)
        #expect(try await Engine(model: broken).code(scoring)?.code == .logitsNotFinite)
    }

    @Test("after a change of the model its parameters are looked through again")
    func notFiniteAfterChange() async throws {
        let model = try TestModels.tinyLlama(seed: 1)
        let engine = try Engine(model: model)
        let parameters = ["layers.0.mlp", "layers.1.mlp"].compactMap { part in
            model.parameters.first { $0.path.contains(part) }
        }
        try #require(parameters.count == 2)
        for parameter in parameters {
            let intact = parameter.value
            parameter.value = intact * .nan
            await engine.forgetPrefixes()
            let error = await engine.code(GenerationRequest(prompt: [1, 2, 3], maximumTokens: 3))
            #expect(error?.message.contains(parameter.path) == true)
            parameter.value = intact
        }
    }
}
