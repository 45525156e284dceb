import MoruBase
import MoruEngine
import MoruText

/// One answer to be generated.
struct ChoicePlan: Sendable {
    /// The prompt.
    let prompt: [Int32]
    /// How to generate.
    var options = GenerationOptions()
    /// What the answer begins with, of what was asked.
    var echo: String?
    /// Tokens at the prompt's beginning that are no part of `echo`, such as the one that begins a sequence.
    var prefixCount = 0
    /// How the model writes calls of functions; nil where there are none to call.
    var toolFormat: ToolCallFormat?
    /// The schemas of the functions' arguments, by the functions' names.
    var toolParameters: [String: JSON] = [:]
    /// Whether more than the first call counts.
    var allowsSeveralCalls = true
    /// Whether a token that ends the text is reported with its score, as one that has no text.
    var scoresEnd = false

    init(prompt: [Int32]) { self.prompt = prompt }

    /// Generates the answer.
    ///
    /// - Throws: What the engine throws, and `CancellationError` when the task is cancelled.
    func generate(with model: GeneratingModel, _ yield: (ChoiceEvent) -> Void) async throws {
        var calls = toolFormat.map {
            ToolCallAssembler($0, parameters: toolParameters, allowsSeveral: allowsSeveralCalls)
        }
        let pretrained = model.generator.pretrained
        var assembler = ChoiceAssembler(
            self, tokenizer: pretrained.tokenizer, endIDs: Set(pretrained.generationDefaults.endIDs))
        if options.promptLogProbabilities == nil, let echo { yield(.piece(ChoicePiece(text: echo, tokens: []))) }
        for try await event in model.generator.stream(.tokens(prompt), options) {
            for choiceEvent in assembler.take(event) {
                for known in calls?.take(choiceEvent) ?? [choiceEvent] { yield(known) }
            }
            if case .finished = event { return }
        }
        throw CancellationError()
    }
}

/// Puts tokens and the text that they make up together.
///
/// The engine reports a token at once and its text when that is certain. Here a token waits for its text, so that
/// those of a stop string, which is no part of the answer, are left out as well.
struct ChoiceAssembler: Sendable {
    private let plan: ChoicePlan
    private let tokenizer: Tokenizer
    /// Scalars of the echo, before the answer's own text.
    private let base: Int
    private var offsets: TokenOffsets
    private let endIDs: Set<Int32>
    /// The end token that came, where ends are scored.
    private var endToken: Int32?
    private var waiting: [ScoredToken] = []
    /// Scalars of the answer so far.
    private var end: Int

    init(_ plan: ChoicePlan, tokenizer: Tokenizer, endIDs: Set<Int32> = []) {
        self.plan = plan
        self.endIDs = endIDs
        self.tokenizer = tokenizer
        base = plan.echo?.unicodeScalars.count ?? 0
        offsets = TokenOffsets(
            tokenizer: tokenizer, skipSpecialTokens: !plan.options.showsSpecialTokens, startingAt: base)
        end = base
    }

    /// What an event of the engine means for the answer.
    mutating func take(_ event: TextEvent) -> [ChoiceEvent] {
        switch event {
        case .promptScored(let scores):
            return [.piece(ChoicePiece(text: plan.echo ?? "", tokens: promptTokens(scores)))]
        case .token(let score):
            guard plan.options.logProbabilities != nil else { return [] }
            if plan.scoresEnd, endIDs.contains(score.id) { endToken = score.id }
            waiting.append(ScoredToken(score, offset: offsets.next(score.id), tokenizer: tokenizer))
            return []
        case .text(let text):
            end += text.unicodeScalars.count
            let count = waiting.firstIndex { $0.offset >= end } ?? waiting.count
            defer { waiting.removeFirst(count) }
            return [.piece(ChoicePiece(text: text, tokens: Array(waiting.prefix(count))))]
        case .finished(let reason, let usage):
            var events: [ChoiceEvent] = []
            if case .stopString = reason { waiting = [] }
            if !waiting.isEmpty { events.append(.piece(ChoicePiece(text: "", tokens: waiting))) }
            return events + [.finished(endToken.map { .stop($0) } ?? reason, usage)]
        }
    }

    private func promptTokens(_ scores: [TokenScore]) -> [ScoredToken] {
        var offsets = TokenOffsets(tokenizer: tokenizer, skipSpecialTokens: false)
        return scores.enumerated().map { position, score in
            let offset = position < plan.prefixCount ? 0 : offsets.next(score.id)
            return ScoredToken(score, offset: offset, tokenizer: tokenizer)
        }
    }
}
