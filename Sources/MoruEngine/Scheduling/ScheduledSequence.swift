import MoruTensor

/// A sequence as the scheduler knows it.
struct ScheduledSequence: Sendable {
    let id: SequenceID
    /// Whose it is, for fairness.
    let client: String
    /// Sequences of a family compute the same for the same tokens: those of one adapter.
    let family: Int
    /// Positions of the cache before the first token.
    let virtualTokens: Int
    /// Whether it may begin with pages that others have computed.
    let reusesPages: Bool
    let promptCount: Int
    let endIDs: Set<Int32>
    /// The number of known tokens at which the generation ends.
    let limit: Int
    /// Why it ends there.
    let limitReason: FinishReason
    /// The first tokens, which are computed in long runs: a prompt that is too long for a short one, whole.
    let longEnd: Int
    var known: [Int32]
    var computed = 0
    /// The pages of its cache, and how many of them are full and known to the ledger.
    var pages: [PageID] = []
    var enteredPages = 0
    /// Whether the pages that it fills are for others too; not where contents were forgotten since it began, for its
    /// cache then holds what an earlier state of the model computed.
    var sharesPages = true
    /// The step in which it last had a long run, and how many it had.
    var lastTurn = 0
    var turns = 0
    var hasReportedPrompt = false

    init(
        id: SequenceID, prompt: [Int32], maximumTokens: Int, endIDs: Set<Int32>, virtualTokens: Int, family: Int,
        client: String, reusesPages: Bool, _ limits: Scheduler.Limits
    ) {
        self.id = id
        (self.client, self.family, self.endIDs) = (client, family, endIDs)
        (self.virtualTokens, self.reusesPages) = (virtualTokens, reusesPages && maximumTokens > 0)
        promptCount = prompt.count
        known = prompt
        let room = limits.context - virtualTokens - prompt.count
        limit = prompt.count + min(maximumTokens, room)
        limitReason = maximumTokens <= room ? .length : .contextLength
        let rows = maximumTokens > 0 ? prompt.count : prompt.count - 1
        longEnd = rows > limits.shortRun ? rows : 0
    }

    /// Known tokens that need computing: all of them, or all but the last when nothing is to be generated.
    var target: Int { limit > promptCount ? known.count : promptCount - 1 }
    /// The most positions that its cache ever holds.
    var mostPositions: Int { virtualTokens + max(promptCount, limit - 1) }

    /// What a page of its cache holds, as far as tokens are known.
    func content(of page: Int) -> PageContent {
        let positions = page * SequenceCache.pageTokens..<(page + 1) * SequenceCache.pageTokens
        let virtual = positions.clamped(to: 0..<virtualTokens).count
        let begin = max(0, positions.lowerBound - virtualTokens)
        let end = min(known.count, max(0, positions.upperBound - virtualTokens))
        var tokens = Array(repeating: -1 as Int32, count: virtual)
        if begin < end { tokens += known[begin..<end] }
        return PageContent(
            tokens: tokens, longCount: positions.clamped(to: 0..<virtualTokens + longEnd).count)
    }

    /// Where it may go on after at most `positions` of its cache are taken from others, so that every token is computed
    /// the way that it is without: at least one token is left, and a part of a long run is a long run.
    func start(atMost positions: Int, _ limits: Scheduler.Limits) -> Int {
        let computed = min(positions - virtualTokens, known.count - 1)
        let isCut = computed < longEnd && longEnd - computed <= limits.shortRun
        return max(0, virtualTokens + (isCut ? longEnd - limits.shortRun - 1 : computed))
    }

    /// The next run, of at most `budget` tokens, where it is more than one; nil when the budget is too small.
    func nextRun(_ budget: Int, _ limits: Scheduler.Limits) -> StepRun? {
        var end = min(target, computed + limits.shortRun)
        if computed < longEnd {
            let rest = longEnd - computed
            // What is left over must be a long run too
            let count = rest <= budget ? rest : min(budget, rest - limits.shortRun - 1)
            guard count > limits.shortRun else { return nil }
            end = computed + count
        } else if end - computed > max(1, budget) {
            return nil
        }
        return StepRun(
            id: id, positions: computed..<end, tokens: Array(known[computed..<end]), samples: end == known.count,
            pages: pages)
    }
}
