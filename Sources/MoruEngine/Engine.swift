import MoruBase
import MoruModels
import MoruNN
import MoruTensor
import Synchronization

/// Generates with one language model for many callers at once.
///
/// Requests arrive from any task, and answers leave as streams of events. Inside, one synchronous step after the other
/// computes some tokens of every running sequence, on a thread of the engine's own. An answer is the same, to the last
/// bit, whatever else is being generated.
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
    /// The maximum length of a sequence in tokens, prompt and answer together, as permitted by the model, the
    /// configuration and the memory for the KV cache.
    public nonisolated let contextLength: Int
    /// The number of KV pages that there is memory for.
    nonisolated let pageCapacity: Int
    private nonisolated let draftLayout: CacheLayout?

    private nonisolated let executor = EngineExecutor(name: "moru-engine")
    private nonisolated let inbox: EngineInbox
    private nonisolated let observed = Mutex(EngineObservation())
    private nonisolated let linears: [String: Linear]
    let draft: DraftModel?
    let pages: PageStore
    var disk: DiskPrefixes?
    private var families = AdapterFamilies()
    var scheduler: Scheduler
    var sequences: [SequenceID: ActiveSequence] = [:]
    private var isDriving = false
    var counts = EngineStatistics()
    var parameterCheck = ParameterCheck.pending
    var speculationPlanner: SpeculationPlanner

    /// Makes an engine, which waits for requests.
    ///
    /// - Parameter draft: A small model with the same vocabulary that drafts tokens, unless speculation is off. Answers
    ///   are the same with and without it, also with a seed.
    /// - Throws: ``MoruError/Code/engineConfiguration``.
    public init(
        model: any LanguageModel, configuration: EngineConfiguration = .init(), draft: (any LanguageModel)? = nil
    ) throws(MoruError) {
        try configuration.validate(for: model)
        self.draft =
            if let draft, configuration.speculation != .off { try DraftModel(draft, for: model) } else { nil }
        self.model = model
        self.configuration = configuration
        speculationPlanner = SpeculationPlanner(
            maximumRows: Runtime.fewRows, minimumGain: configuration.minimumSpeculationGain)
        pages = PageStore(model.cacheLayout(configuration.cacheFormat.dtype))
        let wanted = min(model.facts.contextLength, configuration.contextLength ?? Int.max)
        draftLayout = self.draft?.cacheLayout
        pageCapacity = try configuration.pageCapacity(pages.layout, draft: draftLayout, contextLength: wanted)
        contextLength = min(wanted, pageCapacity.multipliedClamped(by: SequenceCache.pageTokens))
        inbox = EngineInbox(
            AdmissionControl(
                maximumTokens: configuration.maximumWaitingTokens, maximumSeconds: configuration.maximumWaitSeconds))
        linears = Dictionary(model.linears.map { ($0.path, $0) }, uniquingKeysWith: { first, _ in first })
        scheduler = Scheduler(
            Scheduler.Limits(
                sequences: configuration.maximumSequences, tokens: configuration.tokenBudget, context: contextLength,
                pages: pageCapacity), sharesPages: configuration.sharesPrefixes,
            notesLosses: configuration.prefixDirectory != nil)
        if let directory = configuration.prefixDirectory {
            disk = DiskPrefixes(directory: directory, keys: PrefixKeys(model, pages.layout))
        }
        let pageBytes = pages.layout.pageBytes
        observed.withLock { observed in
            observed.statistics.pageBytes = pageBytes
            observed.statistics.cacheCapacityBytes = pageCapacity.multipliedClamped(by: pageBytes)
        }
    }

    /// The engine's own thread.
    public nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    /// Generates an answer. To stop, cancel the task that reads the stream, or drop the stream.
    ///
    /// - Returns: The events. The stream throws ``MoruError`` when the request does not suit the model
    ///   (``MoruError/Code/requestInvalid``, ``MoruError/Code/samplingInvalid``, ``MoruError/Code/promptTooLong``,
    ///   ``MoruError/Code/adapterMismatch``), when the model's output is not finite
    ///   (``MoruError/Code/logitsNotFinite``), when too many requests are waiting
    ///   (``MoruError/Code/engineOverloaded``), and when the engine is shut down (``MoruError/Code/engineShutDown``).
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
            try inbox.add(request, continuation, cancellation)
            Task { await self.wake() }
        } catch {
            continuation.finish(throwing: error)
        }
        return (events, cancellation)
    }

    /// Checks whether a request would be admitted now.
    ///
    /// - Throws: ``MoruError/Code/engineOverloaded``.
    package nonisolated func checkLoad(promptTokens: Int, maximumTokens: Int) throws(MoruError) {
        try inbox.withAdmission { admission throws(MoruError) in
            _ = try admission.cost(promptTokens: promptTokens, maximumTokens: maximumTokens)
        }
    }

    /// The engine's counters. Waits for the end of the current step; see ``observation``.
    public var statistics: EngineStatistics {
        publish()
        return observation.statistics
    }

    /// The engine's counters after its last complete step, without waiting for the current one.
    public nonisolated var observation: EngineObservation {
        var observation = observed.withLock { $0 }
        inbox.count(in: &observation.statistics)
        return observation
    }

    /// Updates ``observation``.
    private func publish() {
        var now = counts
        now.running = scheduler.runningCount
        now.waiting = scheduler.waitingCount + scheduler.preemptedCount + (disk?.waiting.count ?? 0)
        now.pageBytes = pages.layout.pageBytes
        now.cacheBytes = scheduler.ledger.heldCount * now.pageBytes
        now.prefixBytes = scheduler.ledger.keptCount * now.pageBytes
        if draft != nil { now.draftBytes = sequences.values.reduce(0) { $0 + ($1.draft?.cache.byteCount ?? 0) } }
        counts.peakDraftBytes = max(counts.peakDraftBytes, now.draftBytes)
        counts.peakBytes = max(counts.peakBytes, now.cacheBytes + now.prefixBytes + now.draftBytes)
        (now.peakDraftBytes, now.peakBytes) = (counts.peakDraftBytes, counts.peakBytes)
        now.cacheCapacityBytes = pageCapacity.multipliedClamped(by: now.pageBytes)
        observed.withLock { $0.statistics = now }
    }

    /// Forgets the prefixes that requests could share. Call this after changing a parameter of the model or of an
    /// adapter, before the next request.
    public func forgetPrefixes() {
        scheduler.forgetContents()
        parameterCheck = .pending
        disk?.keys.renew()
    }

    /// Writes the prefixes in memory to ``EngineConfiguration/prefixDirectory``, as far as they fit.
    public func savePrefixes() { keepAllPages() }

    /// Stops accepting requests, ends the running ones with ``MoruError/Code/engineShutDown``, and writes the prefixes
    /// that are kept on disk.
    public func shutdown() {
        let waiting = inbox.shutDown()
        for id in sequences.keys { _ = scheduler.cancel(id) }
        let all = waiting + sequences.values.map(\.submission)
        counts.cancelled += all.count
        sequences = [:]
        publish()
        for submission in all { submission.continuation.finish(throwing: EngineInbox.shutDownError) }
        keepAllPages()
    }

    // MARK: - Requests

    private nonisolated func validate(_ request: GenerationRequest) throws(MoruError) {
        try request.validate(
            vocabularySize: model.facts.vocabularySize,
            contextLength: contextLength - (request.adapter?.virtualTokenCount ?? 0), cacheLimit: cacheLimit)
        guard let adapter = request.adapter else { return }
        try adapter.check(fits: model, linears: linears)
    }

    /// What limits the context, if it is the memory for the KV cache.
    private nonisolated var cacheLimit: String? {
        guard contextLength < min(model.facts.contextLength, configuration.contextLength ?? .max) else { return nil }
        let layouts = [model.cacheLayout(configuration.cacheFormat.dtype), draftLayout].compactMap { $0 }
        let bytes = pageCapacity * layouts.reduce(0) { $0 + $1.pageBytes }
        return "\(bytes >> 20) MiB of memory for keys and values hold \(contextLength) tokens"
    }

    /// Admits the requests that arrived since the last step, and those whose pages have been read from disk.
    private func admit() {
        let (submissions, restored) = inbox.takeAll()
        for pages in restored {
            if disk?.waiting.remove(pages.id) != nil, let sequence = sequences[pages.id] {
                let family = families.number(of: sequence.request.adapter)
                place(pages, for: sequence.request, family: family)
                schedule(sequence.submission, family: family)
            }
            disk?.directory.release(pages.contents.reduce(0) { $0 + $1.count })
        }
        for submission in submissions {
            let request = submission.request
            let sequence = ActiveSequence(submission, speculates: configuration.speculation == .lookup && draft == nil)
            sequences[submission.id] = sequence
            guard request.maximumTokens > 0 || request.prompt.count > 1 else {
                // One token and none to generate: there is nothing to compute.
                deliver([.promptComputed(submission.id), .finished(submission.id, .length)])
                continue
            }
            let family = families.number(of: request.adapter)
            if !restore(for: submission, family: family) { schedule(submission, family: family) }
        }
    }

    private func schedule(_ submission: Submission, family: Int) {
        let request = submission.request
        scheduler.add(
            submission.id, prompt: request.prompt, maximumTokens: request.maximumTokens, endIDs: request.endIDs,
            virtualTokens: request.adapter?.virtualTokenCount ?? 0, family: family, client: request.client,
            reusesPages: request.reusesPrefixes && request.promptLogProbabilities == nil)
    }

    /// Takes pages from the disk, for a request that waits for them.
    nonisolated func take(_ restored: RestoredPages) {
        inbox.add(restored)
        Task { await self.wake() }
    }

    // MARK: - Steps

    func wake() async {
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
            deliver(disk?.waiting.remove(id) == nil ? scheduler.cancel(id) : [.finished(id, .cancelled)])
        }
        choosePostponed()
        var plan = scheduler.schedule(
            holding: Set(sequences.values.filter { $0.postponed != nil }.map(\.submission.id)))
        guard !plan.isEmpty else { return false }
        let begin = ContinuousClock.now
        prepare(plan)
        for run in plan.runs { sequences[run.id]?.noteStart(begin) }
        speculate(&plan)
        let guessed = ContinuousClock.now
        var outcomes: [SequenceID: StepResult.Outcome] = [:]
        for pass in plan.passes() { compute(pass, &outcomes) }
        for run in plan.runs { note(run) }
        deliver(scheduler.apply(plan, StepResult(outcomes)))
        let end = ContinuousClock.now
        if plan.runs.allSatisfy(\.isDecoding) {
            speculationPlanner.note(
                rows: plan.runs.reduce(0) { $0 + $1.rowCount }, seconds: (end - guessed).seconds)
        }
        let seconds = (end - begin).seconds
        counts.steps += 1
        counts.busySeconds += seconds
        publish()
        inbox.withAdmission { $0.note(tokens: plan.tokenCount, seconds: seconds) }
        return true
    }

    /// Brings the caches in line with a plan.
    private func prepare(_ plan: StepPlan) {
        for id in plan.preempted {
            sequences[id]?.cache = nil
            sequences[id]?.draft = nil
            sequences[id]?.postponed = nil
            counts.preempted += 1
        }
        // Before anything is written
        keepLostPages()
        for copy in plan.copies { pages.copy(copy.source, to: copy.destination) }
        for start in plan.starts {
            guard let sequence = sequences[start.id] else { continue }
            let cache = SequenceCache(in: pages, pages: start.pages, count: start.positions)
            if start.positions == 0 { model.begin(cache, with: sequence.request.adapter) }
            sequence.cache = cache
            guard sequence.cachedTokens == nil else { continue }
            sequence.cachedTokens = start.cachedTokens
            counts.cachedTokens += start.cachedTokens
            let virtual = sequence.request.adapter?.virtualTokenCount ?? 0
            counts.diskTokens += sequence.restored.clamped(to: virtual..<virtual + start.cachedTokens).count
            counts.startedTokens += sequence.request.prompt.count
            leaveQueue(sequence)
        }
        for run in plan.runs { sequences[run.id]?.cache?.use(pages: run.pages) }
        publish()
    }

    private func leaveQueue(_ sequence: ActiveSequence) {
        inbox.withAdmission { $0.leave(sequence.submission.cost) }
    }

    private func note(_ run: StepRun) {
        guard let sequence = sequences[run.id] else { return }
        counts.promptTokens += run.positions.clamped(to: 0..<sequence.request.prompt.count).count
    }

    /// Counts what has come about, before the callers know of it.
    private func record(_ events: [SchedulerEvent], _ now: ContinuousClock.Instant) {
        observed.withLock { observed in
            var place = 0
            while place < events.count {
                defer { place += 1 }
                switch events[place] {
                case .promptComputed: break
                case .token(let id, _):
                    // Those that come together follow each other
                    let first = place
                    while place + 1 < events.count, case .token(id, _) = events[place + 1] { place += 1 }
                    guard let sequence = sequences[id] else { continue }
                    let count = place - first + 1
                    counts.generatedTokens += count
                    sequence.noteTokens(count, now, &observed.histograms)
                case .finished(let id, let reason):
                    guard let sequence = sequences[id] else { continue }
                    if reason == .cancelled { counts.cancelled += 1 } else { counts.finished += 1 }
                    if reason.name == "length" { counts.finishedByLength += 1 }
                    sequence.noteEnd(now, &observed.histograms)
                case .failed: counts.failed += 1
                }
            }
        }
        publish()
    }

    /// Hands events to the callers.
    func deliver(_ events: [SchedulerEvent]) {
        guard !events.isEmpty else { return }
        let now = ContinuousClock.now
        record(events, now)
        for event in events {
            switch event {
            case .promptComputed(let id):
                guard let sequence = sequences[id], sequence.request.promptLogProbabilities != nil else { continue }
                let scores = sequence.request.prompt.prefix(1).map { TokenScore(id: $0) } + sequence.promptScores
                sequence.promptScores = []
                sequence.submission.continuation.yield(.promptScored(scores))
            case .token(let id, let token):
                guard let sequence = sequences[id] else { continue }
                sequence.known.append(token)
                sequence.lookup?.append(token)
                let score = sequence.chosen.isEmpty ? TokenScore(id: token) : sequence.chosen.removeFirst()
                sequence.submission.continuation.yield(.token(score))
            case .finished(let id, let reason):
                guard let sequence = sequences.removeValue(forKey: id) else { continue }
                if sequence.cachedTokens == nil { leaveQueue(sequence) }
                inbox.withAdmission { $0.note(answer: sequence.generatedCount) }
                sequence.submission.continuation.yield(.finished(reason, sequence.usage(now)))
                sequence.submission.continuation.finish()
            case .failed(let id, let error):
                guard let sequence = sequences.removeValue(forKey: id) else { continue }
                sequence.submission.continuation.finish(throwing: error)
            }
        }
    }
}
