import MoruBase
import MoruModels
import MoruNN
import MoruTensor
import Synchronization

/// Generates with one language model for many callers at once.
///
/// Requests come in from any task and leave as streams of events. Inside, one synchronous step at a time computes some
/// tokens of every running sequence, on a thread of the engine's own. An answer is the same, to the last bit, whatever
/// else is being generated.
///
///     let engine = try Engine(model: model)
///     for try await event in engine.generate(GenerationRequest(prompt: ids, maximumTokens: 100)) {
///         if case .token(let token) = event { print(token.id) }
///     }
public actor Engine {
    /// The model.
    public nonisolated let model: any LanguageModel
    /// The settings.
    public nonisolated let configuration: EngineConfiguration
    /// The most tokens of a sequence, prompt and answer together.
    public nonisolated let contextLength: Int

    private nonisolated let executor = EngineExecutor(name: "moru-engine")
    private nonisolated let inbox = Mutex(Inbox())
    private nonisolated let linears: [String: Linear]
    private var scheduler: Scheduler
    private var sequences: [SequenceID: ActiveSequence] = [:]
    private var isDriving = false
    private var counts = EngineStatistics()
    private var damagedParameter: String??
    private var speculationPlanner = SpeculationPlanner(maximumRows: Runtime.fewRows)

    private struct Inbox {
        var nextID: SequenceID = 0
        var submissions: [Submission] = []
        var isShutDown = false
    }

    /// An engine that waits for requests.
    ///
    /// - Throws: ``MoruError/Code/engineConfiguration``.
    public init(model: any LanguageModel, configuration: EngineConfiguration = .init()) throws(MoruError) {
        try configuration.validate(for: model)
        self.model = model
        self.configuration = configuration
        contextLength = min(model.facts.contextLength, configuration.contextLength ?? Int.max)
        linears = Dictionary(model.linears.map { ($0.path, $0) }, uniquingKeysWith: { first, _ in first })
        scheduler = Scheduler(
            Scheduler.Limits(
                sequences: configuration.maximumSequences, tokens: configuration.tokenBudget, context: contextLength))
    }

    /// The engine's own thread.
    public nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    /// Generates. To stop, cancel the task that reads the stream, or drop the stream.
    ///
    /// - Returns: The events. It throws ``MoruError`` when the request is not one that the model can take
    ///   (``MoruError/Code/requestInvalid``, ``MoruError/Code/samplingInvalid``, ``MoruError/Code/promptTooLong``,
    ///   ``MoruError/Code/adapterMismatch``), when the model's output is not finite
    ///   (``MoruError/Code/logitsNotFinite``), and when the engine is shut down (``MoruError/Code/engineShutDown``).
    public nonisolated func generate(_ request: GenerationRequest) -> AsyncThrowingStream<GenerationEvent, any Error> {
        submit(request).events
    }

    /// Generates; `cancellation` stops it and lets the stream end with a last event.
    package nonisolated func submit(
        _ request: GenerationRequest
    ) -> (events: AsyncThrowingStream<GenerationEvent, any Error>, cancellation: Cancellation) {
        let cancellation = Cancellation()
        let (events, continuation) = AsyncThrowingStream.makeStream(of: GenerationEvent.self)
        continuation.onTermination = { _ in cancellation.cancel() }
        do throws(MoruError) {
            try validate(request)
            try inbox.withLock { inbox throws(MoruError) in
                if inbox.isShutDown { throw Self.shutDownError }
                let submission = Submission(
                    id: inbox.nextID, request: request, continuation: continuation, cancellation: cancellation,
                    submitted: .now)
                inbox.nextID += 1
                inbox.submissions.append(submission)
            }
            Task { await self.wake() }
        } catch {
            continuation.finish(throwing: error)
        }
        return (events, cancellation)
    }

    /// What the engine has done and is doing.
    public var statistics: EngineStatistics {
        var now = counts
        now.running = scheduler.runningCount
        now.waiting = scheduler.waitingCount + inbox.withLock { $0.submissions.count }
        now.cacheBytes = sequences.values.reduce(0) { $0 + $1.cache.byteCount }
        return now
    }

    /// Takes no more requests, and ends those at work with ``MoruError/Code/engineShutDown``.
    public func shutdown() {
        let waiting = inbox.withLock { inbox in
            inbox.isShutDown = true
            defer { inbox.submissions = [] }
            return inbox.submissions
        }
        for id in sequences.keys { _ = scheduler.cancel(id) }
        let all = waiting + sequences.values.map(\.submission)
        counts.cancelled += all.count
        sequences = [:]
        for submission in all { submission.continuation.finish(throwing: Self.shutDownError) }
    }

    private static var shutDownError: MoruError {
        MoruError(.engineShutDown, "the engine has been shut down", remedy: "send the request to a running engine")
    }

    // MARK: - Requests

    private nonisolated func validate(_ request: GenerationRequest) throws(MoruError) {
        try request.validate(
            vocabularySize: model.facts.vocabularySize,
            contextLength: contextLength - (request.adapter?.virtualTokenCount ?? 0))
        guard let adapter = request.adapter else { return }
        try adapter.check(fits: model, linears: linears)
    }

    /// Takes up the requests that came in since the last step.
    private func admit() {
        let submissions = inbox.withLock { inbox in
            defer { inbox.submissions = [] }
            return inbox.submissions
        }
        for submission in submissions {
            let request = submission.request
            let sequence = ActiveSequence(
                submission, cache: model.makeCache(for: request.adapter, configuration.cacheFormat.dtype),
                speculates: configuration.speculation == .lookup)
            guard request.maximumTokens > 0 || request.prompt.count > 1 else {
                // One token and none to generate: there is nothing to compute.
                sequences[submission.id] = sequence
                deliver([.promptComputed(submission.id), .finished(submission.id, .length)])
                continue
            }
            sequences[submission.id] = sequence
            scheduler.add(
                submission.id, prompt: request.prompt, maximumTokens: request.maximumTokens, endIDs: request.endIDs,
                virtualTokens: request.adapter?.virtualTokenCount ?? 0)
        }
    }

    // MARK: - Steps

    private func wake() async {
        guard !isDriving else { return }
        isDriving = true
        // Between steps the actor is free for others: statistics, shutdown.
        while step() { await Task.yield() }
        isDriving = false
    }

    /// Computes the next tokens of every running sequence; false when there is nothing left to do.
    private func step() -> Bool {
        admit()
        for (id, sequence) in sequences where sequence.submission.cancellation.isCancelled {
            deliver(scheduler.cancel(id))
        }
        var plan = scheduler.schedule()
        guard !plan.runs.isEmpty else { return false }
        let begin = ContinuousClock.now
        speculate(&plan)
        for run in plan.runs { sequences[run.id]?.noteStart(begin) }
        var outcomes: [SequenceID: StepResult.Outcome] = [:]
        for pass in plan.passes() { compute(pass, &outcomes) }
        for run in plan.runs { note(run) }
        deliver(scheduler.apply(plan, StepResult(outcomes)))
        let seconds = (ContinuousClock.now - begin).seconds
        if plan.runs.allSatisfy(\.isDecoding) {
            speculationPlanner.note(rows: plan.runs.reduce(0) { $0 + $1.rowCount }, seconds: seconds)
        }
        counts.steps += 1
        counts.busySeconds += seconds
        return true
    }

    /// Adds guesses to the runs that compute one token and choose the next, as many as are worth it and fit one pass.
    private func speculate(_ plan: inout StepPlan) {
        let rows = plan.runs.reduce(0) { $0 + ($1.tokens.count <= Runtime.fewRows ? $1.tokens.count : 0) }
        guard configuration.speculation != .off, rows < Runtime.fewRows else { return }
        var guessing: [(place: Int, sequence: ActiveSequence, guess: PromptLookup.Guess)] = []
        for (place, run) in plan.runs.enumerated() where run.isDecoding {
            guard let sequence = sequences[run.id] else { continue }
            let most = min(scheduler.room(for: run.id), Runtime.fewRows - rows)
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

    private func note(_ run: StepRun) {
        guard let sequence = sequences[run.id] else { return }
        counts.promptTokens += run.positions.clamped(to: 0..<sequence.request.prompt.count).count
    }

    /// One forward pass over some runs.
    private func compute(_ runs: [StepRun], _ outcomes: inout [SequenceID: StepResult.Outcome]) {
        var batch = TokenBatch()
        var placed: [(run: StepRun, sequence: ActiveSequence, rows: Range<Int>)] = []
        for run in runs.groupedByAdapter({ sequences[$0.id]?.request.adapter }) {
            guard let sequence = sequences[run.id] else { continue }
            let rows = batch.count..<batch.count + run.rowCount
            batch.append(run.tokens + run.guesses, cache: sequence.cache, adapter: sequence.request.adapter)
            placed.append((run, sequence, rows))
        }
        let hidden = model.hiddenStates(batch)
        for (run, sequence, rows) in placed {
            let isFinite = scorePrompt(of: sequence, run, hidden.rows(rows))
            outcomes[run.id] = isFinite ? .computed : .failed(notFinite(sequence.request))
        }
        var sampled = placed.filter { $0.run.samples }[...]
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
                outcomes[run.id] = choose(for: sequence, run, logits.rows(its))
            }
        }
    }

    /// Scores the prompt's tokens that follow a run's, if wanted; false when the logits are not finite.
    private func scorePrompt(of sequence: ActiveSequence, _ run: StepRun, _ hidden: Tensor) -> Bool {
        let prompt = sequence.request.prompt
        guard let top = sequence.request.promptLogProbabilities else { return true }
        let positions = run.positions.clamped(to: 0..<prompt.count - 1)
        // Logits are by far the largest activation: some rows at a time.
        for begin in stride(from: positions.lowerBound, to: positions.upperBound, by: 128) {
            let end = min(positions.upperBound, begin + 128)
            let first = begin - run.positions.lowerBound
            let logits = model.logits(hidden.rows(first..<first + end - begin))
            guard logits.isFinite else { return false }
            sequence.promptScores += scores(logits, Array(prompt[begin + 1..<end + 1]), top: top)
        }
        return true
    }

    /// Chooses a sequence's next tokens from the logits [1 + guesses, V] after its run's last token and after each
    /// guess. A guess is right when it is what would have been chosen anyway; what follows a wrong one is worthless.
    private func choose(for sequence: ActiveSequence, _ run: StepRun, _ logits: Tensor) -> StepResult.Outcome {
        var ids: [Int32] = []
        sequence.chosen = []
        repeat {
            let row = logits.rows(ids.count..<ids.count + 1)
            guard row.isFinite else { return .failed(notFinite(sequence.request)) }
            let id = sequence.sampler.next(row)
            ids.append(id)
            let scored = sequence.request.logProbabilities.flatMap { scores(row, [id], top: $0).first }
            sequence.chosen.append(scored ?? TokenScore(id: id))
            if sequence.request.endIDs.contains(id) { break }
        } while ids.count <= run.guesses.count && ids[ids.count - 1] == run.guesses[ids.count - 1]
        if let guess = sequence.guess {
            let right = zip(ids, run.guesses).prefix { $0 == $1 }.count
            sequence.cache.truncate(to: sequence.cache.count - run.guesses.count + ids.count - 1)
            sequence.lookup?.note(guess, tried: run.guesses.count, right: right)
            sequence.speculation.add(proposed: run.guesses.count, accepted: right)
            counts.speculation.add(proposed: run.guesses.count, accepted: right)
            sequence.guess = nil
        }
        return .sampled(ids)
    }

    private func notFinite(_ request: GenerationRequest) -> MoruError {
        if damagedParameter == nil { damagedParameter = .some(model.firstNonFiniteParameter()) }
        let adapterParameter = request.adapter?.parameters.first { !$0.value.converted(to: .f32).isFinite }?.path
        if let path = (damagedParameter ?? nil) ?? adapterParameter {
            return MoruError(
                .logitsNotFinite, "the model's output is not finite, because its parameter \(path) is not",
                remedy: "the file is damaged or its training diverged: fetch it again, or train with a lower rate")
        }
        return MoruError(
            .logitsNotFinite, "the model's output is not finite, though all of its parameters are",
            remedy: "the computation overflowed: try MORU_PRECISION=f32")
    }

    /// Hands events to the callers.
    private func deliver(_ events: [SchedulerEvent]) {
        let now = ContinuousClock.now
        for event in events {
            switch event {
            case .promptComputed(let id):
                guard let sequence = sequences[id], sequence.request.promptLogProbabilities != nil else { continue }
                let scores = sequence.request.prompt.prefix(1).map { TokenScore(id: $0) } + sequence.promptScores
                sequence.promptScores = []
                sequence.submission.continuation.yield(.promptScored(scores))
            case .token(let id, let token):
                guard let sequence = sequences[id] else { continue }
                sequence.noteToken(now)
                sequence.generatedCount += 1
                counts.generatedTokens += 1
                sequence.lookup?.append(token)
                let score = sequence.chosen.isEmpty ? TokenScore(id: token) : sequence.chosen.removeFirst()
                sequence.submission.continuation.yield(.token(score))
            case .finished(let id, let reason):
                guard let sequence = sequences.removeValue(forKey: id) else { continue }
                if reason == .cancelled { counts.cancelled += 1 } else { counts.finished += 1 }
                sequence.submission.continuation.yield(.finished(reason, sequence.usage(now)))
                sequence.submission.continuation.finish()
            case .failed(let id, let error):
                guard let sequence = sequences.removeValue(forKey: id) else { continue }
                counts.failed += 1
                sequence.submission.continuation.finish(throwing: error)
            }
        }
    }
}

extension StepRun {
    /// Whether the run computes one token and chooses the next.
    fileprivate var isDecoding: Bool { samples && tokens.count == 1 }
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
