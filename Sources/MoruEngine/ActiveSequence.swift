import Dispatch
import MoruBase
import MoruTensor
import MoruText
import Synchronization

/// Says across threads that nobody wants an answer any more.
package final class Cancellation: Sendable {
    private let flag = Atomic<Bool>(false)

    package init() {}

    package var isCancelled: Bool { flag.load(ordering: .relaxed) }
    package func cancel() { flag.store(true, ordering: .relaxed) }
}

/// A request that the engine works on. Belongs to the engine's actor.
final class ActiveSequence {
    let submission: Submission
    /// The keys and values; nil while the sequence waits.
    var cache: SequenceCache?
    var sampler: Sampler
    /// The scores of the prompt's tokens so far.
    var promptScores: [TokenScore] = []
    var scoredCount = 0
    /// Tokens of the prompt that others had computed; nil before the sequence begins.
    var cachedTokens: Int?
    /// Positions of its cache that came from the disk for it.
    var restored = 0..<0
    /// The tokens chosen in this step.
    var chosen: [TokenScore] = []
    var generatedCount = 0
    /// The prompt and the answer so far.
    var known: [Int32]
    /// What a draft model knows of the sequence.
    var draft: DraftState?
    /// What guesses at the next tokens come from; nil where there are to be none.
    var lookup: PromptLookup?
    /// The guess whose first tokens are verified in this step.
    var guess: PromptLookup.Guess?
    var speculation = SpeculationCounts()
    /// Where the answer is in the grammar that it must keep to; nil where there is none.
    let grammar: GrammarFollower?
    /// The logits [1, V] after the last known token, and the run that they came from, while it is not known yet which
    /// tokens the grammar allows there.
    var postponed: (run: StepRun, logits: Tensor)?
    private var started: ContinuousClock.Instant?
    private var firstToken: ContinuousClock.Instant?
    private var lastToken: ContinuousClock.Instant?

    init(_ submission: Submission, speculates: Bool) {
        self.submission = submission
        known = submission.request.prompt
        lookup = speculates ? PromptLookup(submission.request.prompt) : nil
        sampler = Sampler(submission.request.sampling, prompt: submission.request.prompt)
        grammar = submission.request.grammar.map(GrammarFollower.init)
    }

    var request: GenerationRequest { submission.request }

    /// What the grammar says of the next token.
    enum Choice {
        /// One of some tokens; nil for any.
        case among(TokenMask?)
        /// There is none: the answer is complete.
        case complete
        /// It takes longer to find out.
        case unknown
    }

    /// Which tokens may come next, as far as that is known at a time.
    ///
    /// - Throws: ``MoruError/Code/grammarTooLarge``.
    func choice(until deadline: DispatchTime) throws(MoruError) -> Choice {
        guard let grammar else { return .among(nil) }
        guard let step = try grammar.step(until: deadline) else { return .unknown }
        if step.mustEnd || (request.endIDs.isEmpty && step.mayEnd && step.allowed.isEmpty) {
            return .complete
        }
        guard step.mayEnd else { return .among(step.allowed) }
        var allowed = step.allowed
        for id in request.endIDs where 0..<allowed.count ~= Int(id) { allowed.insert(Int(id)) }
        return .among(allowed)
    }

    /// Takes note of the next token of the answer, and says whether the answer is complete with it, as far as that is
    /// known at a time.
    func follow(_ id: Int32, until deadline: DispatchTime) -> Bool {
        guard let grammar else { return false }
        grammar.accept(id)
        if let mustEnd = grammar.mustEnd, mustEnd || !request.endIDs.isEmpty { return mustEnd }
        // What fails is said at the next token
        if case .complete? = try? choice(until: deadline) { return true }
        return false
    }

    func noteStart(_ now: ContinuousClock.Instant) { started = started ?? now }

    /// Takes note of the answer's next tokens, which came together.
    func noteTokens(_ count: Int, _ now: ContinuousClock.Instant, _ histograms: inout EngineHistograms) {
        generatedCount += count
        if let lastToken {
            histograms.interTokenSeconds.record((now - lastToken).seconds / Double(count), times: count)
        } else {
            firstToken = now
            histograms.firstTokenSeconds.record((now - submission.submitted).seconds)
            // Others that came with the first took no time of their own
            histograms.interTokenSeconds.record(0, times: count - 1)
        }
        lastToken = now
    }

    /// Takes note of the end. What was given up before its first step, counts as a request, but neither waited nor took
    /// a time that would tell anything.
    func noteEnd(_ now: ContinuousClock.Instant, _ histograms: inout EngineHistograms) {
        guard let started else { return }
        histograms.queueSeconds.record((started - submission.submitted).seconds)
        histograms.requestSeconds.record((now - submission.submitted).seconds)
        histograms.promptTokens.record(Double(request.prompt.count))
        histograms.generatedTokens.record(Double(generatedCount))
    }

    func usage(_ now: ContinuousClock.Instant) -> GenerationUsage {
        let begin = started ?? now
        let first = firstToken ?? now
        return GenerationUsage(
            promptTokens: request.prompt.count, cachedTokens: cachedTokens ?? 0, generatedTokens: generatedCount,
            queueSeconds: (begin - submission.submitted).seconds, prefillSeconds: (first - begin).seconds,
            decodeSeconds: (now - first).seconds, speculation: speculation)
    }
}

extension Duration {
    /// The duration in seconds.
    package var seconds: Double { Double(components.seconds) + Double(components.attoseconds) * 1e-18 }
}
