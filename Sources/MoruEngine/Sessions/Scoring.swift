import MoruBase
import MoruNN

extension Engine {
    /// The log-probability of each token given those before it; the first has none.
    ///
    /// - Parameters:
    ///   - tokens: At least one token, at most ``contextLength``.
    ///   - alternatives: How many likeliest alternatives to report at each place.
    /// - Throws: As ``generate(_:)``, or ``MoruError/Code/cancelled`` when the task is cancelled.
    public nonisolated func score(
        tokens: [Int32], adapter: (any Adapter)? = nil, alternatives: Int = 0
    ) async throws -> [TokenScore] {
        let request = GenerationRequest(
            prompt: tokens, maximumTokens: 0, promptLogProbabilities: alternatives, adapter: adapter)
        for try await case .promptScored(let scores) in generate(request) { return scores }
        throw MoruError(.cancelled, "the scoring was cancelled")
    }
}

extension TextGenerator {
    /// The log-probability of each token given those before it; see ``Engine/score(tokens:adapter:alternatives:)``.
    ///
    /// - Throws: As that.
    public func score(tokens: [Int32], adapter: (any Adapter)? = nil) async throws -> [TokenScore] {
        try await engine.score(tokens: tokens, adapter: adapter)
    }
}
