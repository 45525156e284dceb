import MoruBase

/// An example as the model sees it.
public struct TokenizedExample: Sendable, Hashable {
    /// The token ids.
    public let tokens: [Int32]
    /// Whether each token is one to be learnt. The first never is, since nothing comes before it.
    public let isTarget: [Bool]

    /// Makes an example.
    ///
    /// - Parameter isTarget: One flag for each token.
    public init(tokens: [Int32], isTarget: [Bool]) {
        precondition(tokens.count == isTarget.count, "\(isTarget.count) flags for \(tokens.count) tokens")
        self.tokens = tokens
        var flags = isTarget
        if !flags.isEmpty { flags[0] = false }
        self.isTarget = flags
    }

    /// The number of tokens to be learnt.
    public var targetCount: Int { isTarget.count { $0 } }

    /// The tokens that the model has to read: those before the last target.
    ///
    /// What follows could not change the loss, for a token sees only those before it.
    public var inputs: ArraySlice<Int32> { tokens[..<(isTarget.lastIndex(of: true) ?? 0)] }

    /// The same example cut to its first tokens.
    public func prefix(_ count: Int) -> TokenizedExample {
        TokenizedExample(tokens: Array(tokens.prefix(count)), isTarget: Array(isTarget.prefix(count)))
    }
}

/// Two answers to the same prompt as the model sees them; the targets are the answers'.
public struct TokenizedPair: Sendable, Hashable {
    /// The prompt with the better answer.
    public let chosen: TokenizedExample
    /// The prompt with the worse answer.
    public let rejected: TokenizedExample

    /// Makes a pair.
    public init(chosen: TokenizedExample, rejected: TokenizedExample) {
        self.chosen = chosen
        self.rejected = rejected
    }
}
