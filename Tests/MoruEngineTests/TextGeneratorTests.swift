import Foundation
import MoruBase
import MoruModels
import MoruTensor
import MoruTestKit
import MoruText
import Synchronization
import Testing

@testable import MoruEngine

/// A generator whose model recites a text, byte for byte, after any prompt of `promptCount` tokens, then ends its turn.
private func reciter(
    _ text: String, promptCount: Int, contextLength: Int = 512, configuration: EngineConfiguration = .init(),
    pace: (@Sendable () -> Void)? = nil
) throws -> TextGenerator {
    let tokenizer = try TestModels.byteTokenizer()
    let bytes = Array(text.utf8)
    let end = try #require(tokenizer.endOfSequence)
    let model = ScriptedModel(
        vocabularySize: TestModels.byteTokenizerSize, contextLength: contextLength, pace: pace
    ) { _, position in
        let place = position + 1 - promptCount
        return place < 0 ? 32 : place < bytes.count ? Int32(bytes[place]) : end
    }
    let pretrained = PretrainedModel(
        model: model, tokenizer: tokenizer, chatTemplate: nil, generationDefaults: GenerationDefaults(endIDs: [end]),
        path: "reciter", storageDescription: "scripted", license: nil)
    return try TextGenerator(pretrained, configuration: configuration)
}

@Suite("TextGenerator")
struct TextGeneratorTests {
    @Test("text comes in whole characters, and ends with the model's turn")
    func characters() async throws {
        let text = "Grüße, 모루! 👩‍👩‍👧 done"
        let generator = try reciter(text, promptCount: 2)
        var parts: [String] = []
        var tokens = 0
        for try await event in generator.stream("ab") {
            switch event {
            case .promptScored: Issue.record("nobody asked for scores")
            case .token: tokens += 1
            case .text(let part): parts.append(part)
            case .finished(let reason, let usage):
                #expect(reason == .stop(258) && usage.generatedTokens == tokens)
            }
        }
        #expect(parts.joined() == text && tokens == text.utf8.count)
        #expect(parts.count == text.unicodeScalars.count && parts.allSatisfy { !$0.contains("\u{FFFD}") })
    }

    @Test("a stop string across tokens ends the answer, is not part of it, and frees the sequence")
    func stopStrings() async throws {
        let generator = try reciter("one two three four five", promptCount: 2)
        var options = GenerationOptions(stop: ["e f", "zzz"])
        let answer = try await generator.generate("ab", options)
        #expect(answer.text == "one two thre" && answer.finishReason == .stopString("e f"))
        #expect(answer.usage.generatedTokens == 15 && answer.ids.count == 15)
        #expect(await eventually { await generator.engine.statistics.running == 0 })
        options.stop = ["six"]
        let whole = try await generator.generate("ab", options)
        #expect(whole.text == "one two three four five" && whole.finishReason == .stop(258))
        options.stop = ["fives"]
        #expect(try await generator.generate("ab", options).text == "one two three four five")
        options.stop = ["ok", ""]
        let error = await #expect(throws: MoruError.self) { try await generator.generate("ab", options) }
        #expect(error?.code == .requestInvalid && error?.message.contains("stop string 1") == true)
    }

    @Test("the limits: a given one, a default one, the context")
    func limits() async throws {
        let generator = try reciter(String(repeating: "x", count: 3000), promptCount: 2, contextLength: 2000)
        let short = try await generator.generate("ab", GenerationOptions(maximumTokens: 5))
        #expect(short.text == "xxxxx" && short.finishReason == .length)
        let standard = try await generator.generate("ab")
        #expect(standard.text.count == GenerationOptions.defaultMaximumTokens && standard.finishReason == .length)
        let small = try reciter(String(repeating: "x", count: 3000), promptCount: 2, contextLength: 20)
        let full = try await small.generate("ab")
        #expect(full.text.count == 18 && full.finishReason == .contextLength)
    }

    @Test("end tokens may be ignored, and special tokens shown")
    func endTokens() async throws {
        let generator = try reciter("hi", promptCount: 2)
        var options = GenerationOptions(maximumTokens: 4, ignoresEndTokens: true)
        #expect(try await generator.generate("ab", options).text == "hi")
        options.showsSpecialTokens = true
        #expect(try await generator.generate("ab", options).text == "hi<|im_end|><|im_end|>")
    }

    @Test("options take the place of the model's own habits, and those of the defaults")
    func habits() {
        let habits = GenerationDefaults(samples: true, temperature: 0.6, topK: 20, topP: 0.95, repetitionPenalty: 1.1)
        let own = GenerationOptions().sampling(habits)
        #expect(own == SamplingParameters(temperature: 0.6, topK: 20, topP: 0.95, repetitionPenalty: 1.1))
        let given = GenerationOptions(temperature: 0, topK: 5, topP: 0.5, repetitionPenalty: 1, seed: 4).sampling(
            habits)
        #expect(given == SamplingParameters(temperature: 0, topK: 5, topP: 0.5, seed: 4))
        #expect(GenerationOptions().sampling(GenerationDefaults(temperature: 0.6)).temperature == 0)
        #expect(GenerationOptions().sampling(GenerationDefaults(samples: true)).temperature == 1)
        #expect(GenerationOptions().sampling(GenerationDefaults()) == SamplingParameters())
    }

    @Test("log-probabilities and prompt scores come along where asked for")
    func scores() async throws {
        let generator = try TextGenerator(try TestModels.tinyPretrained())
        let answer = try await generator.generate(
            "abc", GenerationOptions(maximumTokens: 4, logProbabilities: 2, promptLogProbabilities: 1))
        #expect(answer.tokens.allSatisfy { $0.logProbability != nil && $0.top.count == 2 && $0.top[0].id == $0.id })
        #expect(answer.promptScores?.map(\.id) == [97, 98, 99])
        // Scoring the whole afterwards finds the same.
        let all = try await generator.score(tokens: [97, 98, 99] + answer.ids)
        #expect(all.count == 3 + answer.ids.count && all[0].logProbability == nil)
        for (generated, scored) in zip(answer.tokens, all.dropFirst(3)) {
            #expect(abs((generated.logProbability ?? 9) - (scored.logProbability ?? -9)) < 1e-4)
        }
    }

    @Test("many prompts: answers in order, progress counted, each as it would be alone")
    func many() async throws {
        let generator = try TextGenerator(
            try TestModels.tinyPretrained(), configuration: EngineConfiguration(maximumSequences: 3, tokenBudget: 67))
        let prompts = (0..<11).map { index in
            (
                prompt: Prompt.text(String(repeating: "ab", count: index + 1)),
                options: GenerationOptions(temperature: 1, seed: UInt64(index), maximumTokens: 3 + index)
            )
        }
        let seen = Mutex<[Int]>([])
        let answers = try await generator.generateAll(prompts) { done, _ in seen.withLock { $0.append(done) } }
        #expect(seen.withLock { $0 } == Array(1...11))
        for (index, (prompt, options)) in prompts.enumerated() {
            let alone = try await generator.generate(prompt, options)
            #expect(answers[index].ids == alone.ids && answers[index].text == alone.text)
        }
        await #expect(throws: MoruError.self) {
            try await generator.generateAll(prompts + [(.tokens([]), GenerationOptions())])
        }
    }

    @Test("cancelling the reader frees the sequence")
    func cancellation() async throws {
        let generator = try reciter(
            String(repeating: "x", count: 90_000), promptCount: 2, contextLength: 100_000,
            pace: { Thread.sleep(forTimeInterval: 0.001) })
        let reader = Task { try await generator.generate("ab", GenerationOptions(maximumTokens: 80_000)) }
        #expect(await eventually { await generator.engine.statistics.generatedTokens > 2 })
        reader.cancel()
        #expect(await eventually { await generator.engine.statistics.running == 0 })
        await #expect { try await reader.value } throws: { ($0 as? MoruError)?.code == .cancelled }
    }

    @Test("an engine of another model is refused")
    func foreignEngine() throws {
        let other = try Engine(model: try TestModels.tinyLlama())
        #expect(throws: MoruError.self) { try TextGenerator(try TestModels.tinyPretrained(), engine: other) }
    }
}

@Suite("ChatSession")
struct ChatSessionTests {
    /// The tokens of the first exchange with ChatML.
    private func promptCount(_ messages: [ChatMessage]) throws -> Int {
        try reciter("", promptCount: 0).tokens(of: .chat(messages)).count
    }

    private func say(_ text: String, to chat: ChatSession) async throws -> String {
        var answer = ""
        for try await part in chat.send(text) { answer += part }
        return answer
    }

    @Test("the conversation is remembered, reset, saved and taken up again")
    func history() async throws {
        let opening = [
            ChatMessage(role: "system", content: "Be brief."), ChatMessage(role: "user", content: "Hello?"),
        ]
        let generator = try reciter("Hi.", promptCount: try promptCount(opening))
        let chat = ChatSession(generator, system: "Be brief.")
        #expect(try await say("Hello?", to: chat) == "Hi.")
        let expected = opening + [ChatMessage(role: "assistant", content: "Hi.")]
        #expect(chat.messages == expected)
        #expect(chat.last?.reason == .stop(258) && chat.last?.usage.generatedTokens == 3)
        let path = TestNeeds.temporaryPath("chat.json")
        defer { FileSystem.remove(path) }
        try chat.save(to: path)
        chat.reset()
        #expect(chat.messages == [opening[0]] && chat.last == nil)
        let other = ChatSession(generator)
        try other.restore(from: path)
        #expect(other.messages == expected && other.system == "Be brief.")
    }

    @Test("a file that is not a conversation is refused, and the present one stays")
    func malformed() throws {
        let chat = ChatSession(try reciter("", promptCount: 1), system: "S")
        let path = TestNeeds.temporaryPath("chat.json")
        defer { FileSystem.remove(path) }
        for text in ["{\"messages\": 3}", "{\"messages\": [{\"role\": \"user\", \"content\": \"x\"}, 4]}", "[1"] {
            try FileSystem.write(Array(text.utf8), to: path)
            let error = #expect(throws: MoruError.self) { try chat.restore(from: path) }
            #expect(error?.message.contains(path) == true)
        }
        #expect(chat.messages == [ChatMessage(role: "system", content: "S")])
    }

    @Test("a conversation that outgrows the context is refused with a remedy, and nothing of it is lost")
    func overflow() async throws {
        let generator = try reciter("", promptCount: 1, contextLength: 80)
        let chat = ChatSession(generator, options: GenerationOptions(maximumTokens: 10))
        _ = try await say("Hi", to: chat)
        let before = chat.messages
        #expect(before.count == 2)
        do {
            _ = try await say(String(repeating: "long ", count: 30), to: chat)
            Issue.record("the conversation should not fit")
        } catch let error as MoruError {
            #expect(error.code == .promptTooLong && error.remedy?.contains("/reset") == true)
            #expect(error.message.contains("more than the context of 80 tokens"))
        }
        #expect(chat.messages == before)
    }

    @Test("a second message waits its turn, and stopping keeps what was said")
    func busyAndStopped() async throws {
        let generator = try reciter(
            String(repeating: "x", count: 90_000), promptCount: 1, contextLength: 100_000,
            pace: { Thread.sleep(forTimeInterval: 0.001) })
        let chat = ChatSession(generator, options: GenerationOptions(maximumTokens: 80_000))
        let first = Task { try await say("one", to: chat) }
        #expect(await eventually { await generator.engine.statistics.generatedTokens > 2 })
        await #expect { try await say("two", to: chat) } throws: { ($0 as? MoruError)?.code == .sessionBusy }
        first.cancel()
        _ = try await first.value
        #expect(await eventually { chat.messages.count == 2 })
        #expect(chat.messages.first?.content == "one" && chat.messages.last?.content.hasPrefix("x") == true)
    }
}
