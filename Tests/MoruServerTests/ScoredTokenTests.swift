import MoruBase
import MoruEngine
import MoruTestKit
import Testing

@testable import MoruServer

@Suite struct ScoredTokenTests {
    private let tokenizer = Result { try TestModels.byteTokenizer() }

    @Test func writesPartsOfCharactersAsBytes() throws {
        let score = TokenScore(id: 0xE6, logProbability: -0.1, top: [TokenProbability(id: 97, logProbability: -2)])
        let scored = ScoredToken(score, offset: 4, tokenizer: try tokenizer.get())
        #expect(scored.token.text == #"bytes:\xe6"#)
        #expect(
            [scored].chatJSON == [
                "content": [
                    [
                        "token": #"bytes:\xe6"#, "logprob": -0.1, "bytes": [230],
                        "top_logprobs": [["token": "a", "logprob": -2.0, "bytes": [97]]],
                    ]
                ],
                "refusal": nil,
            ])
    }

    @Test func alternativesIncludeTheTokenItself() throws {
        let alternatives = [TokenProbability(id: 98, logProbability: -0.5)]
        let scores = [
            TokenScore(id: 97), TokenScore(id: 99, logProbability: -3, top: alternatives),
            TokenScore(id: 98, logProbability: -0.5, top: alternatives),
        ]
        let tokenizer = try tokenizer.get()
        let scored = scores.enumerated().map { ScoredToken($1, offset: $0, tokenizer: tokenizer) }
        #expect(
            scored.completionJSON == [
                "tokens": ["a", "c", "b"], "token_logprobs": [nil, -3.0, -0.5],
                "top_logprobs": [nil, ["b": -0.5, "c": -3.0], ["b": -0.5]], "text_offset": [0, 1, 2],
            ])
    }

    @Test func writesNoInfinity() {
        #expect(ScoredToken.Candidate(bytes: [], logProbability: -.infinity).logProbabilityJSON == -9999.0)
        #expect(ScoredToken.Candidate(bytes: [], logProbability: nil).logProbabilityJSON == .null)
        #expect(ScoredToken.Candidate(bytes: [], logProbability: -0.1).logProbabilityJSON.text() == "-0.1")
    }
}
