import MoruBase

/// Whether an engine guesses at next tokens, to compute several in one pass. Answers are the same with and without.
public enum Speculation: String, Sendable, Hashable, CaseIterable {
    /// One token at a time.
    case off
    /// Guesses what followed when the last tokens occurred before, in the prompt or in the answer.
    case lookup
}

/// How much an engine takes on at a time, and how it goes about it.
public struct EngineConfiguration: Sendable, Hashable {
    /// Sequences that are computed together; further requests wait their turn.
    public var maximumSequences: Int
    /// Tokens that one step computes at most, over all sequences.
    public var tokenBudget: Int
    /// A context length below the model's own; nil for the model's.
    public var contextLength: Int?
    /// Whether next tokens are guessed.
    public var speculation: Speculation

    /// Makes a configuration.
    public init(
        maximumSequences: Int = 8, tokenBudget: Int = 520, contextLength: Int? = nil,
        speculation: Speculation = .lookup
    ) {
        self.speculation = speculation
        self.maximumSequences = maximumSequences
        self.tokenBudget = tokenBudget
        self.contextLength = contextLength
    }

    /// Checks the settings.
    ///
    /// - Throws: ``MoruError/Code/engineConfiguration``, naming the setting.
    public func validate() throws(MoruError) {
        guard maximumSequences >= 1 else {
            throw MoruError(
                .engineConfiguration, "maximumSequences is \(maximumSequences)", remedy: "use 1 or more")
        }
        guard tokenBudget > maximumSequences else {
            throw MoruError(
                .engineConfiguration,
                "a token budget of \(tokenBudget) leaves no token for prompts beside \(maximumSequences) sequences",
                remedy: "use a budget above maximumSequences, such as \(maximumSequences + 512)")
        }
        if let contextLength, contextLength < 2 {
            throw MoruError(.engineConfiguration, "contextLength is \(contextLength)", remedy: "use 2 or more")
        }
    }
}
