import MoruBase
import MoruModels
import MoruNN
import MoruText

/// Generates text with a model: prompts in, text out.
///
///     let generator = try TextGenerator(PretrainedModel.load("models/SmolLM2-135M-Instruct"))
///     for try await event in generator.stream("The capital of France is") {
///         if case .text(let text) = event { print(text, terminator: "") }
///     }
public struct TextGenerator: Sendable {
    /// The model, its tokenizer and its template.
    public let pretrained: PretrainedModel
    /// The engine, which other generators of the same model may share.
    public let engine: Engine
    private let grammars: GrammarShelf

    /// A generator with an engine of its own, or a shared one.
    ///
    /// - Parameter draft: A small model with the same tokenizer, whose guesses let the engine compute several tokens at a
    ///   time; answers are the same.
    /// - Throws: ``MoruError/Code/engineConfiguration``, also when `engine` runs another model.
    public init(
        _ pretrained: PretrainedModel, engine: Engine? = nil, configuration: EngineConfiguration = .init(),
        draft: PretrainedModel? = nil
    ) throws(MoruError) {
        if let draft { try Self.require(pretrained.tokenizer, is: draft.tokenizer, of: draft.path) }
        if let engine, engine.model !== pretrained.model {
            throw MoruError(
                .engineConfiguration, "the engine runs another model than \(pretrained.path)",
                remedy: "make an engine for this model")
        }
        self.pretrained = pretrained
        grammars = GrammarShelf(pretrained.tokenizer)
        self.engine =
            if let engine { engine } else {
                try Engine(model: pretrained.model, configuration: configuration, draft: draft?.model)
            }
    }

    /// A draft model's tokens must be the model's own.
    private static func require(
        _ tokenizer: Tokenizer, is other: Tokenizer, of path: String
    ) throws(MoruError) {
        let count = Int32(max(tokenizer.vocabularySize, other.vocabularySize))
        guard let id = (0..<count).first(where: { tokenizer.piece($0) != other.piece($0) }) else { return }
        throw MoruError(
            .engineConfiguration,
            "token \(id) is '\(tokenizer.piece(id) ?? "")', and of the draft model \(path) '\(other.piece(id) ?? "")'",
            remedy: "use a draft model of the same family, with the same tokenizer")
    }

    /// The token ids of a prompt.
    ///
    /// - Throws: What the chat template throws.
    public func tokens(of prompt: Prompt) throws(MoruError) -> [Int32] {
        switch prompt {
        case .text(let text): pretrained.tokenizer.encode(text)
        case .chat(let messages): try pretrained.prompt(for: messages).tokens
        case .tokens(let ids): ids
        }
    }

    /// The engine's request for a prompt.
    ///
    /// - Throws: What the chat template throws, what ``matcher(for:)`` throws, or ``MoruError/Code/requestInvalid`` for an
    ///   empty stop string.
    public func request(_ prompt: Prompt, _ options: GenerationOptions) throws(MoruError) -> GenerationRequest {
        if let place = options.stop.firstIndex(of: "") {
            throw MoruError(
                .requestInvalid, "stop string \(place) is empty", remedy: "leave it out; it would stop everything")
        }
        return GenerationRequest(
            prompt: try tokens(of: prompt), sampling: options.sampling(pretrained.generationDefaults),
            maximumTokens: options.maximumTokens ?? GenerationOptions.defaultMaximumTokens,
            endIDs: options.ignoresEndTokens
                ? [] : options.furtherEndIDs.union(pretrained.generationDefaults.endIDs),
            logProbabilities: options.logProbabilities, promptLogProbabilities: options.promptLogProbabilities,
            adapter: options.adapter,
            grammar: try options.structure.map { form throws(MoruError) in try matcher(for: form) },
            reusesPrefixes: options.reusesPrefixes, client: options.client)
    }

    /// A matcher of texts of some form, at their beginning.
    ///
    /// - Throws: ``MoruError/Code/grammarMalformed``, ``MoruError/Code/grammarUnsupported`` or
    ///   ``MoruError/Code/grammarTooLarge``; what cannot be guaranteed is named.
    public func matcher(for structure: StructuredOutput) throws(MoruError) -> GrammarMatcher {
        try grammars.matcher(for: structure)
    }

    /// Generates, and gives the text out as it comes. To stop, cancel the task that reads the stream, or drop it.
    ///
    /// - Returns: The events. It throws what ``request(_:_:)`` and ``Engine/generate(_:)`` throw.
    public func stream(
        _ prompt: Prompt, _ options: GenerationOptions = .init()
    ) -> AsyncThrowingStream<TextEvent, any Error> {
        do throws(MoruError) {
            let request = try request(prompt, options)
            // Submitted here and now, so that requests run in the order of the calls.
            let (events, cancellation) = engine.submit(request)
            let assembler = TextAssembler(
                StreamingDetokenizer(
                    tokenizer: pretrained.tokenizer, skipSpecialTokens: !options.showsSpecialTokens),
                StopStringMatcher(options.stop))
            let reader = TextReader(events, cancellation, assembler)
            return AsyncThrowingStream { try await reader.next() }
        } catch {
            return AsyncThrowingStream { throw error }
        }
    }

    /// Generates, and returns the whole answer.
    ///
    /// - Throws: As ``stream(_:_:)``, or ``MoruError/Code/cancelled`` when the task is cancelled.
    public func generate(_ prompt: Prompt, _ options: GenerationOptions = .init()) async throws -> GeneratedText {
        var text = ""
        var tokens: [TokenScore] = []
        var promptScores: [TokenScore]?
        for try await event in stream(prompt, options) {
            switch event {
            case .promptScored(let scores): promptScores = scores
            case .token(let score): tokens.append(score)
            case .text(let part): text += part
            case .finished(let reason, let usage):
                return GeneratedText(
                    text: text, tokens: tokens, promptScores: promptScores, finishReason: reason, usage: usage)
            }
        }
        throw MoruError(.cancelled, "the generation was cancelled")
    }

    /// Generates for many prompts, as many at a time as the engine takes.
    ///
    /// - Parameters:
    ///   - prompts: The prompts, each with its options.
    ///   - progress: Called after each answer with the number of answers so far, in any order of the prompts.
    /// - Returns: The answers, in the order of the prompts.
    /// - Throws: The first error; the other generations are then cancelled.
    public func generateAll(
        _ prompts: [(prompt: Prompt, options: GenerationOptions)],
        progress: @Sendable (_ done: Int, _ answer: GeneratedText) -> Void = { _, _ in }
    ) async throws -> [GeneratedText] {
        try await withThrowingTaskGroup(of: (Int, GeneratedText).self) { group in
            var answers = [GeneratedText?](repeating: nil, count: prompts.count)
            var next = 0
            func begin() {
                guard next < prompts.count else { return }
                let (index, (prompt, options)) = (next, prompts[next])
                next += 1
                group.addTask { (index, try await generate(prompt, options)) }
            }
            // Twice as many as run, so that the engine never waits for its callers.
            for _ in 0..<2 * engine.configuration.maximumSequences { begin() }
            var done = 0
            for try await (index, answer) in group {
                answers[index] = answer
                done += 1
                progress(done, answer)
                begin()
            }
            return answers.compactMap { $0 }
        }
    }
}

/// Reads an engine's events as events of text, in the task of whoever reads those: a task of its own would be one more to
/// wake for every token. Unchecked: like any asynchronous stream it is read by one task at a time.
private final class TextReader: @unchecked Sendable {
    private var events: AsyncThrowingStream<GenerationEvent, any Error>.Iterator
    private let cancellation: Cancellation
    private var assembler: TextAssembler
    private var ready: [TextEvent] = []

    init(
        _ events: AsyncThrowingStream<GenerationEvent, any Error>, _ cancellation: Cancellation,
        _ assembler: TextAssembler
    ) {
        (self.events, self.cancellation, self.assembler) = (events.makeAsyncIterator(), cancellation, assembler)
    }

    func next() async throws -> TextEvent? {
        while ready.isEmpty {
            guard let event = try await events.next() else { return nil }
            ready = assembler.take(event)
            if assembler.hasStopped { cancellation.cancel() }
        }
        return ready.removeFirst()
    }
}

/// Turns an engine's events into events of text.
private struct TextAssembler: Sendable {
    private var detokenizer: StreamingDetokenizer
    private var matcher: StopStringMatcher
    private var tokenCount = 0

    init(_ detokenizer: StreamingDetokenizer, _ matcher: StopStringMatcher) {
        self.detokenizer = detokenizer
        self.matcher = matcher
    }

    /// Whether a stop string was found.
    var hasStopped: Bool { matcher.found != nil }

    mutating func take(_ event: GenerationEvent) -> [TextEvent] {
        switch event {
        case .promptScored(let scores): return [.promptScored(scores)]
        case .token(let score):
            // The engine may be a step ahead of a stop string.
            if hasStopped { return [] }
            tokenCount += 1
            return [.token(score)] + text(matcher.append(detokenizer.append(score.id)))
        case .finished(let reason, var usage):
            var rest: [TextEvent] = []
            if !hasStopped { rest += text(matcher.append(detokenizer.finish())) }
            if !hasStopped { rest += text(matcher.finish()) }
            usage.generatedTokens = tokenCount
            return rest + [.finished(matcher.found.map { .stopString($0) } ?? reason, usage)]
        }
    }

    private func text(_ part: String) -> [TextEvent] { part.isEmpty ? [] : [.text(part)] }
}
