import MoruBase
import MoruEngine
import MoruText

/// The answers that a request asks for, checked: what is wrong with it is known before anything is generated.
struct AnswerPlan: Sendable {
    /// The model that answers.
    let model: GeneratingModel
    /// Keeps the model from being unloaded.
    private let lease: ModelLease
    /// The answers, those of the first prompt first.
    let choices: [ChoicePlan]
    /// Tokens of all prompts, each counted once.
    let promptTokens: Int
    /// How many answers to each prompt are generated.
    let choicesPerPrompt: Int
    /// How many of them are given: the likeliest.
    let answersPerPrompt: Int

    /// The answers to a conversation.
    ///
    /// - Throws: ``APIError`` when the model's template refuses the conversation, or its context is too short.
    init(_ request: some ConversationRequest, for lease: ModelLease) throws(APIError) {
        let model = try lease.model.generating()
        (self.lease, self.model) = (lease, model)
        var choice: ChoicePlan
        do {
            let prompt = try model.generator.pretrained.prompt(for: request.messages, calling: request.tools.shown)
            choice = ChoicePlan(prompt: prompt)
        } catch {
            throw APIError(error, param: request.messagesParam)
        }
        try Self.check(
            choice.prompt, for: model, generating: request.maximumTokens ?? 1, param: request.messagesParam)
        choice.options.maximumTokens = request.maximumTokens ?? model.contextLength - choice.prompt.count
        choice.options.logProbabilities = request.logProbabilities
        if request.fields.echo { choice.echo = request.messages.last?.content }
        if !request.tools.shown.isEmpty { try Self.prepare(&choice, request.tools, for: model) }
        choices = try Self.repeated(choice, request.fields.choiceCount, request.fields, for: model)
        promptTokens = choice.prompt.count
        (choicesPerPrompt, answersPerPrompt) = (request.fields.choiceCount, request.fields.choiceCount)
    }

    /// Lets an answer call functions, one of them for certain where that is asked for.
    private static func prepare(
        _ choice: inout ChoicePlan, _ tools: ToolFields, for model: GeneratingModel
    ) throws(APIError) {
        let format = ToolCallFormat(template: model.generator.pretrained.chatTemplate?.source)
        choice.toolFormat = format
        choice.toolParameters = Dictionary(
            tools.functions.map { ($0.name, $0.parameters) }, uniquingKeysWith: { first, _ in first })
        choice.allowsSeveralCalls = tools.allowsSeveral
        // The marks of calls are special tokens in some vocabularies
        choice.options.showsSpecialTokens = true
        guard !tools.required.isEmpty else { return }
        do {
            let form = StructuredOutput.grammar(
                try format.grammar(calling: tools.required.map { ($0.name, $0.parameters) }))
            _ = try model.generator.matcher(for: form)
            choice.options.structure = form
        } catch {
            throw APIError(error, param: "tools")
        }
    }

    /// The answers to prompts.
    ///
    /// - Throws: ``APIError`` when a prompt has no tokens, or ones that the model does not know, or too many.
    init(_ request: CompletionRequest, for lease: ModelLease) throws(APIError) {
        let model = try lease.model.generating()
        (self.lease, self.model) = (lease, model)
        (choicesPerPrompt, answersPerPrompt) = (request.bestOf, request.fields.choiceCount)
        let gap: FillInMiddle?
        do { gap = try request.suffix.map { _ throws(MoruError) in try FillInMiddle(model.tokenizer) } } catch {
            throw APIError(error, param: "suffix")
        }
        var (choices, promptTokens): ([ChoicePlan], Int) = ([], 0)
        for (prompt, name) in zip(request.prompts, request.promptNames) {
            var choice =
                if let gap, let suffix = request.suffix {
                    Self.choice(filling: gap, between: prompt, and: suffix, model.tokenizer)
                } else {
                    Self.choice(for: prompt, model.tokenizer, echo: request.fields.echo)
                }
            try Self.check(choice.prompt, for: model, generating: request.maximumTokens, param: name)
            choice.options.maximumTokens = request.maximumTokens
            choice.options.logProbabilities =
                request.logProbabilities ?? (choicesPerPrompt > answersPerPrompt ? 0 : nil)
            if request.fields.echo {
                choice.options.promptLogProbabilities = request.logProbabilities
                // Who scores a text asks for one token more, and counts on its being there to be left out
                choice.scoresEnd = request.logProbabilities != nil && request.maximumTokens == 1
                choice.options.ignoresEndTokens = choice.scoresEnd
            }
            choices += try Self.repeated(choice, choicesPerPrompt, request.fields, for: model)
            promptTokens += choice.prompt.count
        }
        (self.choices, self.promptTokens) = (choices, promptTokens)
    }

    /// The answers to give of those that were generated: for each prompt the likeliest, likeliest first, by the mean
    /// log-probability of their tokens. An answer without tokens comes last.
    func best(of collected: [CollectedChoice]) -> [CollectedChoice] {
        guard choicesPerPrompt > answersPerPrompt else { return collected }
        var best: [CollectedChoice] = []
        for begin in stride(from: 0, to: collected.count, by: choicesPerPrompt) {
            let ranked = collected[begin..<begin + choicesPerPrompt].map { choice in
                let plan = choices[choice.index]
                let promptCount = plan.options.promptLogProbabilities == nil ? 0 : plan.prompt.count
                return (choice, score: choice.tokens.dropFirst(promptCount).meanLogProbability)
            }.sorted { ($1.score, $0.0.index) < ($0.score, $1.0.index) }
            best += ranked.prefix(answersPerPrompt).map(\.0)
        }
        for place in best.indices { best[place].index = place }
        return best
    }

    /// What the answer with this number has cost, added to what others have.
    func add(_ cost: GenerationUsage, of choice: Int, to usage: inout TokenUsage) {
        usage.completionTokens += cost.generatedTokens
        if cost.generatedTokens > 0 {
            let seconds = cost.queueSeconds + cost.prefillSeconds
            usage.secondsToFirstToken = min(usage.secondsToFirstToken ?? seconds, seconds)
        }
        // A prompt counts once, however many answers it gets
        if choice % choicesPerPrompt == 0 { usage.cachedTokens += cost.cachedTokens }
    }

    /// Refuses the request where it would have to wait for too long, before anything is answered.
    ///
    /// - Throws: ``MoruError/Code/engineOverloaded``.
    func checkLoad() throws(MoruError) {
        guard let first = choices.first else { return }
        try model.generator.engine.checkLoad(
            promptTokens: first.prompt.count, maximumTokens: first.options.maximumTokens ?? 0)
    }

    private static func choice(
        for prompt: TextInput, _ tokenizer: Tokenizer, echo: Bool
    ) -> ChoicePlan {
        switch prompt {
        case .text(let text):
            var choice = ChoicePlan(prompt: tokenizer.encode(text))
            guard echo else { return choice }
            choice.echo = text
            let body = tokenizer.encode(text, addSpecialTokens: false)
            if choice.prompt.suffix(body.count) == body[...] { choice.prefixCount = choice.prompt.count - body.count }
            return choice
        case .tokens(let ids):
            var choice = ChoicePlan(prompt: ids)
            if echo { choice.echo = tokenizer.decode(ids) }
            return choice
        }
    }

    private static func choice(
        filling gap: FillInMiddle, between prompt: TextInput, and suffix: String, _ tokenizer: Tokenizer
    ) -> ChoicePlan {
        var choice: ChoicePlan
        switch prompt {
        case .text(let text): choice = ChoicePlan(prompt: gap.prompt(before: text, after: suffix, with: tokenizer))
        case .tokens(let ids): choice = ChoicePlan(prompt: gap.prompt(before: ids, after: suffix, with: tokenizer))
        }
        choice.options.furtherEndIDs = Set(gap.ends)
        return choice
    }

    /// So many of a choice. With a seed, each is a sample of its own that can be repeated.
    private static func repeated(
        _ choice: ChoicePlan, _ count: Int, _ fields: GenerationFields, for model: GeneratingModel
    ) throws(APIError) -> [ChoicePlan] {
        let vocabularySize = model.generator.pretrained.model.facts.vocabularySize
        if let id = fields.sampling.logitBias.keys.filter({ Int($0) >= vocabularySize }).min() {
            throw .wrongValue("logit_bias", "has the token id \(id), and the model's ids are below \(vocabularySize)")
        }
        if let form = fields.structure.structure {
            // Made here, so that a schema that cannot be followed is known before anything is generated
            do { _ = try model.generator.matcher(for: form) } catch {
                throw APIError(error, param: fields.structure.param)
            }
        }
        return (0..<count).map { number in
            var choice = choice
            fields.sampling.apply(to: &choice.options, for: model.generator.pretrained)
            choice.options.seed = fields.sampling.seed.map { $0 &+ UInt64(number) }
            choice.options.stop = fields.stop
            choice.options.structure = choice.options.structure ?? fields.structure.structure
            choice.options.adapter = model.adapter
            choice.options.ignoresEndTokens = choice.options.ignoresEndTokens || fields.ignoresEnd
            choice.options.reusesPrefixes = fields.reusesPrefixes
            choice.options.client = fields.client
            return choice
        }
    }

    /// Checks that a model can take a prompt.
    private static func check(
        _ prompt: [Int32], for model: GeneratingModel, generating: Int, param: String
    ) throws(APIError) {
        guard !prompt.isEmpty else { throw .wrongValue(param, "has no tokens") }
        let vocabularySize = model.generator.pretrained.model.facts.vocabularySize
        if let id = prompt.first(where: { $0 < 0 || Int($0) >= vocabularySize }) {
            throw .wrongValue(param, "has the token id \(id), and the model's ids are below \(vocabularySize)")
        }
        let limit = model.contextLength - min(1, generating)
        guard prompt.count <= limit else {
            let room = generating > 0 ? "holds with one token to generate" : "holds"
            throw APIError(
                MoruError(
                    .promptTooLong,
                    "the prompt has \(prompt.count) tokens, \(prompt.count - limit) more than the context of "
                        + "\(model.contextLength) tokens \(room)",
                    remedy: "shorten it, or use a model with a longer context"), param: param)
        }
    }
}
