import MoruBase

/// What an engine has done since it started, and what it is doing.
public struct EngineStatistics: Sendable, Hashable {
    /// Sequences that take part in steps.
    public var running = 0
    /// Requests that wait for their first step.
    public var waiting = 0
    /// Tokens of the requests that wait, as far as they can be told: of their prompts and of their likely answers.
    public var waitingTokens = 0
    /// Bytes of keys and values that sequences hold.
    public var cacheBytes = 0
    /// Bytes of keys and values that nobody holds, kept for requests that begin alike.
    public var prefixBytes = 0
    /// Bytes of a draft model's keys and values.
    public var draftBytes = 0
    /// The most bytes of a draft model's keys and values that there were after any step.
    public var peakDraftBytes = 0
    /// The most bytes of all keys and values, kept ones and a draft model's included, that there were after any step.
    public var peakBytes = 0
    /// Bytes of the model's keys and values that there may be at most.
    public var cacheCapacityBytes = 0
    /// Bytes of a page of keys and values, of which those are multiples.
    public var pageBytes = 0
    /// Steps taken.
    public var steps = 0
    /// Prompt tokens computed.
    public var promptTokens = 0
    /// Prompt tokens of the requests that have begun.
    public var startedTokens = 0
    /// Prompt tokens that were computed for an earlier request.
    public var cachedTokens = 0
    /// Those of them that came from the disk.
    public var diskTokens = 0
    /// Tokens generated.
    public var generatedTokens = 0
    /// Generations that ended by themselves.
    public var finished = 0
    /// Those of them that ended for their length.
    public var finishedByLength = 0
    /// Generations that their caller stopped.
    public var cancelled = 0
    /// Generations that failed after they began.
    public var failed = 0
    /// Requests refused because too much waited.
    public var refused = 0
    /// Times that a sequence gave its pages back, to be computed again later.
    public var preempted = 0
    /// Guesses at next tokens, and what became of them.
    public var speculation = SpeculationCounts()
    /// Seconds spent in steps.
    public var busySeconds = 0.0

    /// The share of prompt tokens that needed no computing.
    public var prefixHitRate: Double { startedTokens > 0 ? Double(cachedTokens) / Double(startedTokens) : 0 }
}

/// How long requests waited and took, and how long they were, since an engine started.
public struct EngineHistograms: Sendable, Hashable {
    /// Seconds from a request to its first step.
    public var queueSeconds = Histogram.ofSeconds
    /// Seconds from a request to its first token.
    public var firstTokenSeconds = Histogram.ofSeconds
    /// Seconds between two tokens of an answer. Tokens that come together, as right guesses do, share the time.
    public var interTokenSeconds = Histogram.ofTokenSeconds
    /// Seconds from a request to its end.
    public var requestSeconds = Histogram.ofSeconds
    /// Tokens of prompts.
    public var promptTokens = Histogram.ofTokens
    /// Tokens of answers.
    public var generatedTokens = Histogram.ofTokens
}

/// What an engine has done as of its last step.
public struct EngineObservation: Sendable, Hashable {
    /// What it has done and is doing.
    public var statistics = EngineStatistics()
    /// How long that took.
    public var histograms = EngineHistograms()
}
