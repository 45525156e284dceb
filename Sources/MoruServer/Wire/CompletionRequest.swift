import MoruBase

/// The body of `POST /v1/completions`.
///
/// As ``ChatCompletionRequest``, it refuses by name what it does not act on, and takes what changes nothing (`metadata`).
struct CompletionRequest: Sendable {
    /// OpenAI's default.
    static let defaultMaximumTokens = 16

    var fields: GenerationFields
    /// The prompts; each has its own answers.
    var prompts: [TextInput]
    /// The field that holds a prompt, for errors.
    var promptNames: [String]
    /// What comes after the answer, which then fills the gap between the prompt and this.
    var suffix: String?
    /// How many answers to each prompt are generated, of which the likeliest are given.
    var bestOf: Int
    /// The most tokens of an answer; 0, with `echo`, only scores the prompt.
    var maximumTokens: Int
    /// With a number, tokens come with their log-probability and this many alternatives.
    var logProbabilities: Int?

    /// Reads the body.
    init(_ json: JSON) throws(APIError) {
        var request = try RequestObject(json)
        fields = try GenerationFields(&request)
        let prompt = try request.required("prompt")
        (prompts, promptNames) = try TextInput.list(prompt, field: "prompt")
        maximumTokens = try request.int("max_tokens", in: 0...Int.max) ?? Self.defaultMaximumTokens
        logProbabilities = try request.int("logprobs", in: 0...GenerationFields.maximumAlternatives)
        if maximumTokens == 0, !fields.echo {
            throw .wrongValue("max_tokens", "is 0, which is only allowed with 'echo': true, to score the prompt")
        }
        bestOf = try Self.bestOf(&request, fields)
        suffix = try request.string("suffix").flatMap { $0.isEmpty ? nil : $0 }
        if suffix != nil, fields.echo {
            throw .wrongValue("echo", "stands beside 'suffix'; the text that fills the gap comes alone")
        }
        let (name, count) = bestOf > fields.choiceCount ? ("best_of", bestOf) : ("n", fields.choiceCount)
        if prompts.count * count > GenerationFields.maximumChoices {
            throw .wrongValue(
                name,
                "is \(count) for \(prompts.count) prompts, and a request may have "
                    + "\(GenerationFields.maximumChoices) answers at most")
        }
        try request.refuse("max_completion_tokens", "it belongs to chat completions; use 'max_tokens'")
        try request.refuse("top_logprobs", "it belongs to chat completions; use 'logprobs' with a number")
        try request.finish()
    }

    /// `best_of`: at least `n`, and no more where the answer comes in pieces, of which none can be taken back.
    private static func bestOf(_ request: inout RequestObject, _ fields: GenerationFields) throws(APIError) -> Int {
        guard let count = try request.int("best_of", in: 1...GenerationFields.maximumChoices) else {
            return fields.choiceCount
        }
        guard count >= fields.choiceCount else {
            throw .wrongValue("best_of", "is \(count), and must be at least 'n', which is \(fields.choiceCount)")
        }
        guard count == fields.choiceCount || !fields.streams else {
            throw .wrongValue("best_of", "is only allowed without 'stream': the best is known when all are done")
        }
        return count
    }
}
