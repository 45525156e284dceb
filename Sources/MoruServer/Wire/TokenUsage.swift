import MoruBase

/// What a request cost, in tokens.
struct TokenUsage: Sendable, Hashable {
    /// Tokens of the prompts, each prompt counted once whatever the number of its answers.
    var promptTokens = 0
    /// Tokens of the prompts that were computed for earlier requests.
    var cachedTokens = 0
    /// Tokens of the answers.
    var completionTokens = 0
    /// Seconds from the request to the first token of an answer, for the log; nil where there is none.
    var secondsToFirstToken: Double?

    /// `usage` of a response.
    var responseJSON: JSON {
        [
            "input_tokens": .int(promptTokens),
            "input_tokens_details": ["cached_tokens": .int(cachedTokens), "cache_write_tokens": 0],
            "output_tokens": .int(completionTokens), "output_tokens_details": ["reasoning_tokens": 0],
            "total_tokens": .int(promptTokens + completionTokens),
        ]
    }

    /// `usage` of a completion.
    var json: JSON {
        [
            "prompt_tokens": .int(promptTokens), "completion_tokens": .int(completionTokens),
            "total_tokens": .int(promptTokens + completionTokens),
            "prompt_tokens_details": ["cached_tokens": .int(cachedTokens)],
        ]
    }
}
