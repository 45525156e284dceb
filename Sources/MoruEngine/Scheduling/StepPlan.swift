import MoruBase

/// A sequence's number in its engine, in the order of the requests.
package typealias SequenceID = Int

/// Tokens of one sequence that a step computes.
package struct StepRun: Sendable, Hashable {
    /// The sequence.
    package var id: SequenceID
    /// The positions of the tokens in the sequence.
    package var positions: Range<Int>
    /// The tokens, one for each position.
    package var tokens: [Int32]
    /// Whether the token after the last of these is to be chosen.
    package var samples: Bool
    /// Guesses at the tokens after these, computed too; those that turn out right save a step each.
    package var guesses: [Int32] = []
    /// The pages of the sequence's cache, with room for the tokens.
    package var pages: [PageID] = []

    /// Rows that the run takes in a forward pass.
    var rowCount: Int { tokens.count + guesses.count }
}

/// A sequence that begins, or begins again, to be computed.
package struct SequenceStart: Sendable, Hashable {
    /// The sequence.
    package var id: SequenceID
    /// The pages of its cache.
    package var pages: [PageID]
    /// Positions of the cache that need no computing.
    package var positions: Int
    /// Tokens of the prompt among them.
    package var cachedTokens: Int
}

/// A page whose content a sequence begins with and changes.
package struct PageCopy: Sendable, Hashable {
    package var source: PageID
    package var destination: PageID
}

/// What a step computes, and what is to be done before.
package struct StepPlan: Sendable, Hashable {
    /// Sequences that have given their pages back, to be computed again later.
    package var preempted: [SequenceID] = []
    /// Sequences that begin.
    package var starts: [SequenceStart] = []
    /// Pages to copy, in this order.
    package var copies: [PageCopy] = []
    /// The runs, in the order in which their requests came.
    package var runs: [StepRun] = []
    /// Whether there is nothing to do.
    package var isEmpty: Bool { runs.isEmpty && starts.isEmpty && preempted.isEmpty }
    /// The tokens of all runs.
    package var tokenCount: Int { runs.reduce(0) { $0 + $1.tokens.count } }
}

/// What a step brought about.
package struct StepResult: Sendable {
    /// What became of one run.
    package enum Outcome: Sendable {
        /// The tokens are computed; no next token was due.
        case computed
        /// The tokens are computed, and so are the guesses among these next tokens: all but the last. The answer may be
        /// complete with them.
        case sampled([Int32], isComplete: Bool = false)
        /// The sequence cannot go on.
        case failed(MoruError)
    }

    /// One outcome for each run of the plan, by sequence.
    package var outcomes: [SequenceID: Outcome]

    package init(_ outcomes: [SequenceID: Outcome]) { self.outcomes = outcomes }
}

/// What a scheduler reports, in order.
package enum SchedulerEvent: Sendable {
    /// The prompt is computed; comes before the sequence's first token.
    case promptComputed(SequenceID)
    /// A next token that is part of the answer.
    case token(SequenceID, Int32)
    /// The sequence has ended and is forgotten.
    case finished(SequenceID, FinishReason)
    /// The sequence has failed and is forgotten.
    case failed(SequenceID, MoruError)
}
