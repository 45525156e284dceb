/// What an engine has done since it started, and what it is doing.
public struct EngineStatistics: Sendable, Hashable {
    /// Sequences that take part in steps.
    public var running = 0
    /// Requests that wait for their first step.
    public var waiting = 0
    /// Bytes of keys and values held.
    public var cacheBytes = 0
    /// Steps taken.
    public var steps = 0
    /// Prompt tokens computed.
    public var promptTokens = 0
    /// Tokens generated.
    public var generatedTokens = 0
    /// Generations that ended by themselves.
    public var finished = 0
    /// Generations that their caller stopped.
    public var cancelled = 0
    /// Generations that failed after they began.
    public var failed = 0
    /// Guesses at next tokens, and what became of them.
    public var speculation = SpeculationCounts()
    /// Seconds spent in steps.
    public var busySeconds = 0.0
}
