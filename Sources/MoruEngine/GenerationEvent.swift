/// A token id and its log-probability.
public struct TokenProbability: Sendable, Hashable {
    /// The token id.
    public var id: Int32
    /// The natural logarithm of its probability.
    public var logProbability: Float

    /// Makes a pair.
    public init(id: Int32, logProbability: Float) {
        self.id = id
        self.logProbability = logProbability
    }
}

/// A token, and what the model thought of it.
///
/// Log-probabilities are those of the model's own distribution: before logit bias, penalties, temperature and the
/// cuts of top-k, top-p and min-p.
public struct TokenScore: Sendable, Hashable {
    /// The token id.
    public var id: Int32
    /// Its log-probability given what came before; nil where not asked for, and for a prompt's first token.
    public var logProbability: Float?
    /// The likeliest tokens at its place, likeliest first.
    public var top: [TokenProbability]

    /// Makes a score.
    public init(id: Int32, logProbability: Float? = nil, top: [TokenProbability] = []) {
        self.id = id
        self.logProbability = logProbability
        self.top = top
    }
}

/// Why a generation ended.
public enum FinishReason: Sendable, Hashable {
    /// The model produced this end token.
    case stop(Int32)
    /// The grammar that the answer keeps to lets nothing follow.
    case complete
    /// The text contained this stop string; only the text level finds these.
    case stopString(String)
    /// The request's maximum number of tokens was reached.
    case length
    /// The model's context is full, before the request's maximum was reached.
    case contextLength
    /// The caller stopped it.
    case cancelled

    /// The reason as OpenAI's API names it: `stop`, `length` or `cancelled`.
    public var name: String {
        switch self {
        case .stop, .stopString, .complete: "stop"
        case .length, .contextLength: "length"
        case .cancelled: "cancelled"
        }
    }
}

/// Guesses at next tokens.
public struct SpeculationCounts: Sendable, Hashable {
    /// Guessed tokens that were computed.
    public var proposed = 0
    /// Those of them that were right, each of which saved a step.
    public var accepted = 0

    /// Nothing guessed yet.
    public init() {}

    mutating func add(proposed: Int, accepted: Int) {
        self.proposed += proposed
        self.accepted += accepted
    }
}

/// What a generation cost.
public struct GenerationUsage: Sendable, Hashable {
    /// Tokens of the prompt.
    public var promptTokens: Int
    /// Those of them that were computed for an earlier request.
    public var cachedTokens: Int
    /// Tokens generated, an end token not counted.
    public var generatedTokens: Int
    /// Seconds between the request and its first step.
    public var queueSeconds: Double
    /// Seconds from there to the first generated token: the prompt.
    public var prefillSeconds: Double
    /// Seconds from there to the end.
    public var decodeSeconds: Double
    /// Guesses at next tokens, and what became of them.
    public var speculation: SpeculationCounts

    /// Makes a usage.
    public init(
        promptTokens: Int, cachedTokens: Int = 0, generatedTokens: Int = 0, queueSeconds: Double = 0,
        prefillSeconds: Double = 0,
        decodeSeconds: Double = 0, speculation: SpeculationCounts = .init()
    ) {
        self.promptTokens = promptTokens
        self.cachedTokens = cachedTokens
        self.generatedTokens = generatedTokens
        self.queueSeconds = queueSeconds
        self.prefillSeconds = prefillSeconds
        self.decodeSeconds = decodeSeconds
        self.speculation = speculation
    }

    /// Seconds from the request to its end.
    public var totalSeconds: Double { queueSeconds + prefillSeconds + decodeSeconds }
    /// Prompt tokens computed per second.
    public var promptTokensPerSecond: Double {
        prefillSeconds > 0 ? Double(promptTokens - cachedTokens) / prefillSeconds : 0
    }
    /// Tokens per second after the first, which belongs to the prompt's computation.
    public var generatedTokensPerSecond: Double {
        decodeSeconds > 0 && generatedTokens > 1 ? Double(generatedTokens - 1) / decodeSeconds : 0
    }
}

/// What happens in the course of a generation, in order.
public enum GenerationEvent: Sendable {
    /// The prompt's tokens, scored; once, before the first token, where asked for.
    case promptScored([TokenScore])
    /// The next token.
    case token(TokenScore)
    /// The end; nothing follows.
    case finished(FinishReason, GenerationUsage)
}
