import MoruBase
import MoruEngine
import MoruTestKit
import Testing

@testable import MoruServer

@Suite struct ChoiceAssemblerTests {
    /// The pieces that events come to, and the reason at the end.
    private func pieces(
        of events: [TextEvent], for plan: ChoicePlan
    ) throws -> (pieces: [ChoicePiece], reason: FinishReason?) {
        var assembler = ChoiceAssembler(plan, tokenizer: try TestModels.byteTokenizer())
        var (pieces, reason): ([ChoicePiece], FinishReason?) = ([], nil)
        for event in events.flatMap({ assembler.take($0) }) {
            switch event {
            case .piece(let piece): pieces.append(piece)
            case .call(let call, _): Issue.record("\(call) is not a part of a text")
            case .finished(let found, _): reason = found
            }
        }
        return (pieces, reason)
    }

    private func tokens(_ text: String) -> [TextEvent] {
        text.utf8.map { .token(TokenScore(id: Int32($0), logProbability: -1)) }
    }

    private let usage = GenerationUsage(promptTokens: 1)

    private var plan: ChoicePlan {
        var plan = ChoicePlan(prompt: [1])
        plan.options.logProbabilities = 0
        return plan
    }

    @Test func tokensWaitForTheirText() throws {
        // The three bytes of a character become text together, and the letter after it on its own.
        let events = tokens("東") + [.text("東")] + tokens("a") + [.text("a"), .finished(.length, usage)]
        let (pieces, reason) = try pieces(of: events, for: plan)
        #expect(pieces.map(\.text) == ["東", "a"] && reason == .length)
        #expect(pieces.map { $0.tokens.map(\.offset) } == [[0, 0, 0], [1]])
    }

    @Test func tokensOfAStopStringAreLeftOut() throws {
        let events = tokens("ab") + [.text("ab")] + tokens("END") + [.finished(.stopString("END"), usage)]
        let (pieces, reason) = try pieces(of: events, for: plan)
        #expect(pieces.flatMap(\.tokens).map(\.token.text) == ["a", "b"] && reason == .stopString("END"))
    }

    @Test func tokensWithoutTextComeAtTheEnd() throws {
        let special = TextEvent.token(TokenScore(id: 257, logProbability: -1))
        let events = tokens("a") + [.text("a"), special, .finished(.length, usage)]
        let (pieces, _) = try pieces(of: events, for: plan)
        #expect(pieces.map(\.text) == ["a", ""])
        #expect(pieces.last?.tokens.map(\.token.text) == ["<|im_start|>"])
        #expect(pieces.last?.tokens.map(\.offset) == [1])
    }

    @Test func offsetsContinueThoseOfTheEcho() throws {
        var plan = plan
        plan.options.promptLogProbabilities = 0
        plan.echo = "é<|im_end|>"
        plan.prefixCount = 1
        let scores = [256, 0xC3, 0xA9, 258].map { TokenScore(id: $0) }
        let events = [.promptScored(scores)] + tokens("x") + [.text("x"), .finished(.length, usage)]
        let (pieces, _) = try pieces(of: events, for: plan)
        #expect(pieces.map(\.text) == ["é<|im_end|>", "x"])
        #expect(pieces.flatMap(\.tokens).map(\.offset) == [0, 0, 0, 1, 11])
    }

    @Test func withoutScoresThereAreNoTokens() throws {
        var plan = plan
        plan.options.logProbabilities = nil
        let (pieces, _) = try pieces(of: tokens("a") + [.text("a"), .finished(.length, usage)], for: plan)
        #expect(pieces == [ChoicePiece(text: "a", tokens: [])])
    }
}
