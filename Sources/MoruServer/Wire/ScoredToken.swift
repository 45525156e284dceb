import MoruBase
import MoruEngine
import MoruText

/// A token of a prompt or an answer, as text, with its log-probability and the likeliest alternatives.
struct ScoredToken: Sendable, Hashable {
    /// A token and its log-probability.
    struct Candidate: Sendable, Hashable {
        /// The bytes that the token stands for.
        var bytes: [UInt8]
        /// The natural logarithm of its probability; nil for the first token of a prompt.
        var logProbability: Float?

        /// The token as text; one that holds a part of a character is written `bytes:\xe2\x80`.
        var text: String {
            if let text = String(validating: bytes, as: UTF8.self) { return text }
            let escapes = bytes.map { byte in
                let digits = String(byte, radix: 16)
                return digits.count < 2 ? "\\x0\(digits)" : "\\x\(digits)"
            }
            return "bytes:" + escapes.joined()
        }

        /// The log-probability as JSON, which knows no infinity.
        var logProbabilityJSON: JSON {
            guard let logProbability else { return .null }
            guard logProbability.isFinite else { return -9999.0 }
            return .shortest(logProbability)
        }
    }

    /// The token itself.
    var token: Candidate
    /// The likeliest tokens at its place, likeliest first.
    var alternatives: [Candidate]
    /// Where its text begins in the whole text, in Unicode scalars (characters, to Python).
    var offset: Int

    /// A token scored by the engine.
    init(_ score: TokenScore, offset: Int, tokenizer: Tokenizer) {
        token = Candidate(bytes: tokenizer.bytes(of: score.id), logProbability: score.logProbability)
        alternatives = score.top.map {
            Candidate(bytes: tokenizer.bytes(of: $0.id), logProbability: $0.logProbability)
        }
        self.offset = offset
    }
}

extension Sequence<ScoredToken> {
    /// The mean of what the model made of them; less than anything where there are none.
    var meanLogProbability: Float {
        let known = compactMap(\.token.logProbability)
        return known.isEmpty ? -.infinity : known.reduce(0, +) / Float(known.count)
    }
}

extension [ScoredToken] {
    /// `logprobs` of a chat completion's choice.
    var chatJSON: JSON { ["content": .array(chatEntries), "refusal": nil] }

    /// The tokens, as chat completions and responses list them.
    var chatEntries: [JSON] {
        func entry(_ candidate: ScoredToken.Candidate) -> [(String, JSON)] {
            [
                ("token", .string(candidate.text)), ("logprob", candidate.logProbabilityJSON),
                ("bytes", .array(candidate.bytes.map { .int(Int($0)) })),
            ]
        }
        return map { scored in
            let alternatives = scored.alternatives.map { JSON.object(JSONObject(entry($0))) }
            return .object(JSONObject(entry(scored.token) + [("top_logprobs", .array(alternatives))]))
        }
    }

    /// `logprobs` of a completion's choice. The alternatives always include the token itself.
    var completionJSON: JSON {
        let top = map { scored -> JSON in
            // A prompt's first token follows nothing, so nothing is known of its place.
            guard scored.token.logProbability != nil else { return .null }
            var members = JSONObject()
            for candidate in scored.alternatives + [scored.token] where members[candidate.text] == nil {
                members[candidate.text] = candidate.logProbabilityJSON
            }
            return .object(members)
        }
        return [
            "tokens": .array(map { .string($0.token.text) }),
            "token_logprobs": .array(map(\.token.logProbabilityJSON)), "top_logprobs": .array(top),
            "text_offset": .array(map { .int($0.offset) }),
        ]
    }
}
