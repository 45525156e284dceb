import MoruTensor

extension Engine {
    /// Adds guesses to the runs that compute one token and choose the next, as many as are worth it and fit one pass.
    func speculate(_ plan: inout StepPlan) {
        let rows = plan.runs.reduce(0) { $0 + ($1.tokens.count <= Runtime.fewRows ? $1.tokens.count : 0) }
        guard configuration.speculation != .off, rows < Runtime.fewRows else { return }
        if let draft { return speculate(with: draft, rows: rows, &plan) }
        var guessing: [(place: Int, sequence: ActiveSequence, guess: PromptLookup.Guess)] = []
        for (place, run) in plan.runs.enumerated() where run.isDecoding {
            guard let sequence = sequences[run.id] else { continue }
            let most = min(scheduler.room(for: run), Runtime.fewRows - rows)
            if let guess = sequence.lookup?.guess(most) { guessing.append((place, sequence, guess)) }
        }
        guard !guessing.isEmpty else { return }
        let candidates = guessing.map {
            SpeculationPlanner.Candidate(confidence: $0.guess.confidence, count: $0.guess.tokens.count)
        }
        for ((place, sequence, guess), count) in zip(guessing, speculationPlanner.plan(candidates, rows: rows)) {
            plan.runs[place].guesses = Array(guess.tokens.prefix(count))
            if count == 0 { sequence.lookup?.note(guess, tried: 0, right: 0) } else { sequence.guess = guess }
        }
    }

    /// The same, with the guesses of a draft model: of all sequences in step, token by token.
    private func speculate(with draft: DraftModel, rows: Int, _ plan: inout StepPlan) {
        var guessing: [(place: Int, sequence: ActiveSequence, state: DraftState, most: Int)] = []
        var freePages = pageCapacity - sequences.values.reduce(0) { $0 + ($1.draft?.pageCount ?? 0) }
        for (place, run) in plan.runs.enumerated() where run.isDecoding {
            guard let sequence = sequences[run.id] else { continue }
            let most = min(scheduler.room(for: run), draft.contextLength - sequence.known.count)
            guard most > 0 else { continue }
            // Beginnings that sequences share, the draft model has once for each: those without room do without guesses
            let held = sequence.draft?.pageCount ?? 0
            let missing = max(0, SequenceCache.pageCount(sequence.known.count + most) - held)
            guard missing <= freePages else { continue }
            freePages -= missing
            let state = sequence.draft ?? DraftState(cache: draft.makeCache())
            sequence.draft = state
            guessing.append((place, sequence, state, most))
        }
        guard let most = guessing.map(\.most).max() else { return }
        let length = speculationPlanner.draftLength(
            guessing.map(\.state.confidence), rows: rows, most: most, passCost: draft.passCost)
        guard length > 0 else {
            for one in guessing { one.state.rest() }
            return
        }
        let begin = ContinuousClock.now
        let guesses = draft.guess(
            guessing.map { ($0.state, $0.sequence.known, $0.sequence.sampler, min(length, $0.most)) })
        draft.note(passes: length, seconds: (ContinuousClock.now - begin).seconds)
        for (one, guess) in zip(guessing, guesses) { plan.runs[one.place].guesses = guess }
    }
}
