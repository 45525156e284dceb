import Dispatch
import MoruBase
import MoruModels
import MoruNN
import MoruTensor
import MoruText

extension Engine {
    /// What is known of the model's parameters, which are looked through once its output is not finite.
    enum ParameterCheck {
        case pending
        case allFinite
        case damaged(path: String)
    }

    /// One forward pass over some runs.
    func compute(_ runs: [StepRun], _ outcomes: inout [SequenceID: StepResult.Outcome]) {
        var batch = TokenBatch()
        var placed: [(run: StepRun, sequence: ActiveSequence, rows: Range<Int>)] = []
        for run in runs.groupedByAdapter({ sequences[$0.id]?.request.adapter }) {
            guard let sequence = sequences[run.id], let cache = sequence.cache else { continue }
            let rows = batch.count..<batch.count + run.rowCount
            batch.append(run.tokens + run.guesses, cache: cache, adapter: sequence.request.adapter)
            placed.append((run, sequence, rows))
        }
        let hidden = Runtime.withByteProducts { model.hiddenStates(batch) }
        for (run, sequence, rows) in placed {
            let isFinite = scorePrompt(of: sequence, run, hidden.rows(rows))
            outcomes[run.id] = isFinite ? .computed : .failed(notFinite(sequence.request))
        }
        var sampled = placed.filter { $0.run.samples }[...]
        // All sequences of a pass wait together for what grammars allow, and no longer than others may wait for them
        let deadline = DispatchTime.now() + Self.grammarWait
        while !sampled.isEmpty {
            // As many runs as fit in a product of few rows
            var rows: [Int] = []
            let some = sampled.prefix { run, _, its in
                guard rows.count + run.guesses.count < Runtime.fewRows else { return false }
                rows += its.upperBound - 1 - run.guesses.count..<its.upperBound
                return true
            }
            sampled = sampled.dropFirst(some.count)
            let logits = model.logits(hidden.gatheringRows(rows))
            var row = 0
            for (run, sequence, _) in some {
                let its = row..<row + 1 + run.guesses.count
                row = its.upperBound
                if case .failed = outcomes[run.id] { continue }
                outcomes[run.id] = choose(for: sequence, run, logits.rows(its), until: deadline)
            }
        }
    }

    /// Scores the prompt's tokens that follow a run's, if wanted; false when the logits are not finite.
    private func scorePrompt(of sequence: ActiveSequence, _ run: StepRun, _ hidden: Tensor) -> Bool {
        let prompt = sequence.request.prompt
        guard let top = sequence.request.promptLogProbabilities else { return true }
        // What is computed again was scored the first time
        let positions = run.positions.clamped(to: sequence.scoredCount..<max(sequence.scoredCount, prompt.count - 1))
        sequence.scoredCount += positions.count
        // Logits are by far the largest activation: some rows at a time.
        for begin in stride(from: positions.lowerBound, to: positions.upperBound, by: 128) {
            let end = min(positions.upperBound, begin + 128)
            let first = begin - run.positions.lowerBound
            // Where long prompts are cut depends on the load, so a few rows of them go the way of many
            let missing = run.rowCount > Runtime.fewRows ? max(0, Runtime.fewRows + 1 - (end - begin)) : 0
            let rows = Array(first..<first + end - begin) + Array(repeating: first, count: missing)
            let logits = model.logits(hidden.gatheringRows(rows)).rows(0..<end - begin)
            guard logits.isFinite else { return false }
            sequence.promptScores += scores(logits, Array(prompt[begin + 1..<end + 1]), top: top)
        }
        return true
    }

    /// Chooses a sequence's next tokens from the logits [1 + guesses, V] after its run's last token and after each
    /// guess. A guess is right when it is what would have been chosen anyway; what follows a wrong one is worthless.
    ///
    /// Where the grammar takes too long, what follows is chosen later: see ``choosePostponed()``.
    private func choose(
        for sequence: ActiveSequence, _ run: StepRun, _ logits: Tensor, until deadline: DispatchTime
    ) -> StepResult.Outcome {
        var ids: [Int32] = []
        var isComplete = false
        sequence.chosen = []
        choosing: repeat {
            let row = logits.rows(ids.count..<ids.count + 1)
            guard row.isFinite else { return .failed(notFinite(sequence.request)) }
            let choice: ActiveSequence.Choice
            do throws(MoruError) { choice = try sequence.choice(until: deadline) } catch { return .failed(error) }
            let allowed: TokenMask?
            switch choice {
            case .among(let mask): allowed = mask
            case .complete:
                isComplete = true
                break choosing
            case .unknown where ids.isEmpty: return postpone(sequence, run, row)
            case .unknown: break choosing
            }
            if let allowed, allowed.isEmpty { return .failed(deadEnd(sequence)) }
            let id = sequence.sampler.next(row, allowed: allowed)
            ids.append(id)
            let scored = sequence.request.logProbabilities.flatMap { scores(row, [id], top: $0).first }
            sequence.chosen.append(scored ?? TokenScore(id: id))
            if sequence.request.endIDs.contains(id) { break }
            isComplete = sequence.follow(id, until: deadline)
        } while !isComplete && ids.count <= run.guesses.count && ids[ids.count - 1] == run.guesses[ids.count - 1]
        if !run.guesses.isEmpty {
            let right = zip(ids, run.guesses).prefix { $0 == $1 }.count
            if let cache = sequence.cache, !ids.isEmpty {
                cache.truncate(to: cache.count - run.guesses.count + ids.count - 1)
            }
            if let guess = sequence.guess { sequence.lookup?.note(guess, tried: run.guesses.count, right: right) }
            sequence.draft?.note(known: run.positions.upperBound, tried: run.guesses.count, right: right)
            sequence.speculation.add(proposed: run.guesses.count, accepted: right)
            counts.speculation.add(proposed: run.guesses.count, accepted: right)
            sequence.guess = nil
        }
        return .sampled(ids, isComplete: isComplete)
    }

    /// Keeps the logits of a sequence for the time when it is known what its grammar allows.
    private func postpone(_ sequence: ActiveSequence, _ run: StepRun, _ row: Tensor) -> StepResult.Outcome {
        if let cache = sequence.cache { cache.truncate(to: cache.count - run.guesses.count) }
        if let guess = sequence.guess { sequence.lookup?.note(guess, tried: 0, right: 0) }
        sequence.guess = nil
        var run = run
        run.guesses = []
        sequence.postponed = (run, row)
        sequence.grammar?.whenReady { [weak self] in Task { await self?.wake() } }
        return .computed
    }

    /// Chooses the next tokens of the sequences whose grammars took longer, as far as they are known now.
    func choosePostponed() {
        var plan = StepPlan()
        var outcomes: [SequenceID: StepResult.Outcome] = [:]
        for id in sequences.keys.sorted() {
            guard let sequence = sequences[id], let (run, logits) = sequence.postponed,
                sequence.grammar?.isReady ?? true
            else { continue }
            sequence.postponed = nil
            plan.runs.append(run)
            outcomes[id] = choose(for: sequence, run, logits, until: .now())
        }
        if !plan.runs.isEmpty { deliver(scheduler.apply(plan, StepResult(outcomes))) }
    }

    /// How long a step waits for what grammars allow.
    private static var grammarWait: DispatchTimeInterval { .milliseconds(3) }

    private func deadEnd(_ sequence: ActiveSequence) -> MoruError {
        let text = String(decoding: sequence.grammar?.bytes ?? [], as: UTF8.self)
        return MoruError(
            .grammarDeadEnd,
            "none of the model's tokens continues as the grammar requires after \"\(text.suffix(80))\"",
            remedy: "the model's vocabulary lacks characters that the grammar wants: allow others")
    }

    private func notFinite(_ request: GenerationRequest) -> MoruError {
        if case .pending = parameterCheck {
            parameterCheck = model.firstNonFiniteParameter().map { .damaged(path: $0) } ?? .allFinite
        }
        var path = request.adapter?.parameters.first { !$0.value.converted(to: .f32).isFinite }?.path
        if case .damaged(let own) = parameterCheck { path = own }
        if let path {
            return MoruError(
                .logitsNotFinite, "the model's output is not finite, because its parameter \(path) is not",
                remedy: "the file is damaged or its training diverged: fetch it again, or train with a lower rate")
        }
        return MoruError(
            .logitsNotFinite, "the model's output is not finite, though all of its parameters are",
            remedy: "the computation overflowed: try MORU_PRECISION=f32")
    }
}

extension StepRun {
    /// Whether the run computes one token and chooses the next.
    var isDecoding: Bool { samples && tokens.count == 1 }
}

extension [StepRun] {
    /// The runs with those of the same adapter next to each other, so that an adapter acts once on all of its rows.
    fileprivate func groupedByAdapter(_ adapter: (StepRun) -> (any Adapter)?) -> [StepRun] {
        var groups: [(adapter: (any Adapter)?, runs: [StepRun])] = []
        for run in self {
            let its = adapter(run)
            if let place = groups.firstIndex(where: { $0.adapter === its }) {
                groups[place].runs.append(run)
            } else {
                groups.append((its, [run]))
            }
        }
        return groups.flatMap(\.runs)
    }
}
