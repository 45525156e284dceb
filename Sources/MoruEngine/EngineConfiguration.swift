import MoruBase

/// How much an engine takes on at a time.
public struct EngineConfiguration: Sendable, Hashable {
    /// Sequences that are computed together; further requests wait their turn.
    public var maximumSequences: Int
    /// Tokens that one step computes at most, over all sequences.
    public var tokenBudget: Int
    /// A context length below the model's own; nil for the model's.
    public var contextLength: Int?

    /// Makes a configuration.
    public init(maximumSequences: Int = 8, tokenBudget: Int = 520, contextLength: Int? = nil) {
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
