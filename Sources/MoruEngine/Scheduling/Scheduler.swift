/// Decides which tokens of which sequences a step computes.
///
/// There is no prefill phase and no decode phase: every sequence has known tokens and computed ones, and each step lets
/// the computed ones catch up under a token budget. First come, first served: sequences keep the order of their
/// requests, and no later one overtakes.
///
/// Where a prompt is cut depends on nothing but the limits, never on what else is in the batch, so that a sequence's
/// arithmetic is the same alone and in company.
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

        package init(sequences: Int, tokens: Int, context: Int) {
            precondition(sequences >= 1 && tokens > sequences && context >= 1, "limits that let nothing run")
            self.sequences = sequences
            self.tokens = tokens
            self.context = context
        }

        /// Where prompts are cut: what the budget leaves when every sequence takes a token.
        package var chunk: Int { tokens - sequences }
    }

    private struct Sequence: Sendable {
        let id: SequenceID
        let promptCount: Int
        let endIDs: Set<Int32>
        /// The number of known tokens at which the generation ends.
        let limit: Int
        /// Why it ends there.
        let limitReason: FinishReason
        var known: [Int32]
        var computed = 0

        /// Known tokens that need computing: all of them, or all but the last when nothing is to be generated.
        var target: Int { limit > promptCount ? known.count : promptCount - 1 }
    }

    /// The limits.
    package let limits: Limits
    private var waiting: [Sequence] = []
    private var running: [Sequence] = []

    /// A scheduler without sequences.
    package init(_ limits: Limits) { self.limits = limits }

    /// Sequences that take part in steps.
    package var runningCount: Int { running.count }
    /// Sequences that wait for their first step.
    package var waitingCount: Int { waiting.count }
    /// Whether there is nothing to do.
    package var isIdle: Bool { running.isEmpty && waiting.isEmpty }

    /// Adds a sequence at the end of the queue. Virtual tokens stand before the prompt in the context, and are not
    /// counted as the sequence's positions.
    ///
    /// The prompt must fit the context, and leave a position when a token is to be generated; when none is, it must
    /// have at least two tokens.
    package mutating func add(
        _ id: SequenceID, prompt: [Int32], maximumTokens: Int, endIDs: Set<Int32>, virtualTokens: Int = 0
    ) {
        precondition(
            !prompt.isEmpty && virtualTokens + prompt.count + min(1, maximumTokens) <= limits.context
                && (maximumTokens > 0 || prompt.count > 1),
            "a sequence with \(prompt.count) prompt tokens and \(maximumTokens) to generate cannot run")
        let room = limits.context - virtualTokens - prompt.count
        waiting.append(
            Sequence(
                id: id, promptCount: prompt.count, endIDs: endIDs, limit: prompt.count + min(maximumTokens, room),
                limitReason: maximumTokens <= room ? .length : .contextLength, known: prompt))
    }

    /// Forgets a sequence; nothing happens when it has ended already.
    package mutating func cancel(_ id: SequenceID) -> [SchedulerEvent] {
        let before = waiting.count + running.count
        waiting.removeAll { $0.id == id }
        running.removeAll { $0.id == id }
        return waiting.count + running.count < before ? [.finished(id, .cancelled)] : []
    }

    /// The next step; empty when there is nothing to do.
    package mutating func schedule() -> StepPlan {
        var plan = StepPlan()
        // Single tokens always run, there is one at most for each sequence; longer runs share the rest of the budget.
        var budget = limits.chunk
        var isBlocked = false
        for sequence in running {
            let run = nextRun(of: sequence)
            let cost = run.tokens.count > 1 ? run.tokens.count : 0
            isBlocked = isBlocked || cost > budget
            if isBlocked && cost > 0 { continue }
            budget -= cost
            plan.runs.append(run)
        }
        while !isBlocked, running.count < limits.sequences, let next = waiting.first {
            let run = nextRun(of: next)
            let cost = run.tokens.count > 1 ? run.tokens.count : 0
            guard cost <= budget else { break }
            budget -= cost
            running.append(next)
            waiting.removeFirst()
            plan.runs.append(run)
        }
        return plan
    }

    /// Takes in what a step brought about, and says what follows, in the order of the plan.
    package mutating func apply(_ plan: StepPlan, _ result: StepResult) -> [SchedulerEvent] {
        var events: [SchedulerEvent] = []
        for run in plan.runs {
            guard let outcome = result.outcomes[run.id], let place = running.firstIndex(where: { $0.id == run.id })
            else { continue }
            if case .failed(let error) = outcome {
                running.remove(at: place)
                events.append(.failed(run.id, error))
                continue
            }
            running[place].computed = run.positions.upperBound
            if case .sampled(let tokens) = outcome { running[place].computed += tokens.count - 1 }
            let last = min(running[place].promptCount, running[place].target)
            if run.positions.contains(last - 1) { events.append(.promptComputed(run.id)) }
            if let reason = advance(place, outcome, &events) {
                running.remove(at: place)
                events.append(.finished(run.id, reason))
            }
        }
        return events
    }

    /// How many guessed tokens a sequence may have beside those of its next run.
    package func room(for id: SequenceID) -> Int {
        running.first { $0.id == id }.map { max(0, $0.limit - $0.known.count - 1) } ?? 0
    }

    /// Appends sampled tokens; returns why the sequence has ended, if it has.
    private mutating func advance(
        _ place: Int, _ outcome: StepResult.Outcome, _ events: inout [SchedulerEvent]
    ) -> FinishReason? {
        if case .sampled(let tokens) = outcome {
            for token in tokens {
                if running[place].endIDs.contains(token) { return .stop(token) }
                running[place].known.append(token)
                events.append(.token(running[place].id, token))
            }
        }
        let sequence = running[place]
        let isAtLimit = sequence.known.count >= sequence.limit && sequence.computed >= sequence.limit - 1
        return isAtLimit ? sequence.limitReason : nil
    }

    private func nextRun(of sequence: Sequence) -> StepRun {
        let begin = sequence.computed
        let end = min(sequence.target, (begin / limits.chunk + 1) * limits.chunk)
        return StepRun(
            id: sequence.id, positions: begin..<end, tokens: Array(sequence.known[begin..<end]),
            samples: end == sequence.known.count)
    }
}
