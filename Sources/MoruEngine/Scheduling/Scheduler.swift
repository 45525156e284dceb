import MoruTensor

/// Decides which tokens of which sequences a step computes, and in which pages.
///
/// There is no prefill phase and no decode phase: every sequence has known tokens and computed ones, and each step lets
/// the computed ones catch up under a token budget. Sequences begin in the order of their requests, fairly between
/// clients; long prompts take turns. When pages run out, the youngest sequence gives its own back and is computed again
/// later.
///
/// Prompts are cut so that each of their tokens is computed in a long run, however many there are; tokens of the answer
/// and of very short prompts in short ones. What a token's row goes through is thus decided by the request alone, never
/// by what else is computed, by what is reused of others, or by what is computed again.
///
/// A value without I/O: the engine asks for a plan, computes it, and hands the result back.
package struct Scheduler: Sendable {
    /// What a scheduler may take on at a time.
    package struct Limits: Sendable, Hashable {
        /// Sequences that take part in a step.
        package var sequences: Int
        /// Tokens of a step.
        package var tokens: Int
        /// Positions of a sequence.
        package var context: Int
        /// Pages of keys and values.
        package var pages: Int
        /// The most tokens of a short run, which the backend computes row by row.
        package var shortRun: Int

        package init(sequences: Int, tokens: Int, context: Int, pages: Int = .max, shortRun: Int = Runtime.fewRows) {
            precondition(
                sequences >= 1 && shortRun >= 1 && tokens >= sequences + Self.leastChunk(shortRun) && context >= 1
                    && pages >= 1,
                "limits that let nothing run")
            self.sequences = sequences
            self.tokens = tokens
            self.context = context
            self.pages = pages
            self.shortRun = shortRun
        }

        /// Tokens for prompts in a step: what the budget leaves when every sequence takes a token.
        package var chunk: Int { tokens - sequences }
        /// The least of them with which any prompt can be cut in two long runs.
        package static func leastChunk(_ shortRun: Int = Runtime.fewRows) -> Int { 2 * shortRun + 1 }
    }

    /// The limits.
    package let limits: Limits
    /// The pages.
    package internal(set) var ledger: PageLedger
    /// Whether sequences begin with what others have computed.
    let sharesPages: Bool
    /// Sequences that wait for their first step, by client, first come first.
    var waiting: [String: [ScheduledSequence]] = [:]
    package internal(set) var waitingCount = 0
    /// Sequences that had to give their pages back, and those that take part in steps, in the order of their requests.
    var preempted: [ScheduledSequence] = []
    var running: [ScheduledSequence] = []
    var share = FairShare()
    var stepNumber = 0

    /// A scheduler without sequences.
    ///
    /// - Parameter notesLosses: Whether to note what pages held that are given up; see ``takeLostPages()``.
    package init(_ limits: Limits, sharesPages: Bool = true, notesLosses: Bool = false) {
        self.limits = limits
        self.sharesPages = sharesPages
        ledger = PageLedger(capacity: limits.pages, notesLosses: notesLosses)
    }

    /// Sequences that take part in steps.
    package var runningCount: Int { running.count }
    /// Sequences that are computed in part, and wait for pages.
    package var preemptedCount: Int { preempted.count }
    /// Whether there is nothing to do.
    package var isIdle: Bool { running.isEmpty && preempted.isEmpty && waitingCount == 0 }

    /// Adds a sequence at the end of its client's queue. Virtual tokens stand before the prompt in the context, and are
    /// not counted as the sequence's positions.
    ///
    /// The prompt must fit the context, and leave a position when a token is to be generated; when none is, it must
    /// have at least two tokens. Prompt and answer together must fit the pages.
    ///
    /// - Parameters:
    ///   - family: Sequences of one family may share pages: those that the same adapter acts on.
    ///   - reusesPages: Whether pages of others may stand in for computing the prompt.
    package mutating func add(
        _ id: SequenceID, prompt: [Int32], maximumTokens: Int, endIDs: Set<Int32>, virtualTokens: Int = 0,
        family: Int = 0, client: String = "", reusesPages: Bool = true
    ) {
        let sequence = ScheduledSequence(
            id: id, prompt: prompt, maximumTokens: maximumTokens, endIDs: endIDs, virtualTokens: virtualTokens,
            family: family, client: client, reusesPages: reusesPages && sharesPages, limits)
        precondition(
            !prompt.isEmpty && virtualTokens + prompt.count + min(1, maximumTokens) <= limits.context
                && (maximumTokens > 0 || prompt.count > 1)
                && SequenceCache.pageCount(sequence.mostPositions) <= limits.pages,
            "a sequence with \(prompt.count) prompt tokens and \(maximumTokens) to generate cannot run")
        waiting[client, default: []].append(sequence)
        waitingCount += 1
        share.enter(client)
    }

    /// Forgets a sequence, whose pages are free at once; nothing happens when it has ended already.
    package mutating func cancel(_ id: SequenceID) -> [SchedulerEvent] {
        if let place = running.firstIndex(where: { $0.id == id }) {
            end(running.remove(at: place))
        } else if let place = preempted.firstIndex(where: { $0.id == id }) {
            end(preempted.remove(at: place))
        } else if let (client, place) = placeOfWaiting(id), let sequence = removeWaiting(client, at: place) {
            end(sequence)
        } else {
            return []
        }
        return [.finished(id, .cancelled)]
    }

    /// Lets no later sequence begin with what has been computed so far, because the model or an adapter has changed.
    package mutating func forgetContents() {
        ledger.forgetContents()
        for place in running.indices { running[place].sharesPages = false }
    }

    /// Takes in what a step brought about, and says what follows, in the order of the plan.
    package mutating func apply(_ plan: StepPlan, _ result: StepResult) -> [SchedulerEvent] {
        var events: [SchedulerEvent] = []
        var ended: [Int] = []
        var place = 0
        for run in plan.runs {
            while place < running.count, running[place].id < run.id { place += 1 }
            guard place < running.count, running[place].id == run.id, let outcome = result.outcomes[run.id] else {
                continue
            }
            if case .failed(let error) = outcome {
                ended.append(place)
                events.append(.failed(run.id, error))
                continue
            }
            running[place].computed = run.positions.upperBound
            if case .sampled(let tokens, _) = outcome { running[place].computed += tokens.count - 1 }
            let last = min(running[place].promptCount, running[place].target)
            if !running[place].hasReportedPrompt, run.positions.contains(last - 1) {
                running[place].hasReportedPrompt = true
                events.append(.promptComputed(run.id))
            }
            let reason = advance(place, outcome, &events)
            enterFullPages(place)
            if let reason {
                ended.append(place)
                events.append(.finished(run.id, reason))
            }
        }
        for place in ended.reversed() { end(running.remove(at: place)) }
        return events
    }

    /// How many guessed tokens a sequence may have beside those of its next run.
    package func room(for run: StepRun) -> Int {
        guard let place = running.firstIndex(where: { $0.id == run.id }) else { return 0 }
        let sequence = running[place]
        let inPages = run.pages.count * SequenceCache.pageTokens - sequence.virtualTokens - run.positions.upperBound
        return max(0, min(sequence.limit - sequence.known.count - 1, inPages))
    }

    /// Appends sampled tokens; returns why the sequence has ended, if it has.
    private mutating func advance(
        _ place: Int, _ outcome: StepResult.Outcome, _ events: inout [SchedulerEvent]
    ) -> FinishReason? {
        if case .sampled(let tokens, let isComplete) = outcome {
            for token in tokens {
                if running[place].endIDs.contains(token) { return .stop(token) }
                running[place].known.append(token)
                events.append(.token(running[place].id, token))
            }
            if isComplete { return .complete }
        }
        let (known, computed, limit) = (running[place].known.count, running[place].computed, running[place].limit)
        return known >= limit && computed >= limit - 1 ? running[place].limitReason : nil
    }

    /// Lets others begin with the pages that a sequence has filled.
    private mutating func enterFullPages(_ place: Int) {
        guard sharesPages, running[place].sharesPages else { return }
        let full = (running[place].virtualTokens + running[place].computed) / SequenceCache.pageTokens
        while running[place].enteredPages < full {
            let page = running[place].enteredPages
            let parent =
                page == 0
                ? PageLedger.root(of: running[place].family) : ledger.serial(of: running[place].pages[page - 1])
            running[place].pages[page] = ledger.enter(
                running[place].pages[page], below: parent, running[place].content(of: page))
            running[place].enteredPages += 1
        }
    }

    private mutating func end(_ sequence: ScheduledSequence) {
        ledger.release(sequence.pages)
        share.leave(sequence.client)
    }

    private func placeOfWaiting(_ id: SequenceID) -> (String, Int)? {
        for (client, queue) in waiting {
            if let place = queue.firstIndex(where: { $0.id == id }) { return (client, place) }
        }
        return nil
    }

    mutating func removeWaiting(_ client: String, at place: Int) -> ScheduledSequence? {
        guard let sequence = waiting[client]?.remove(at: place) else { return nil }
        if waiting[client]?.isEmpty ?? false { waiting[client] = nil }
        waitingCount -= 1
        return sequence
    }
}
