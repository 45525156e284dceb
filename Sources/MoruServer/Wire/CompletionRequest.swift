import MoruBase

/// The body of `POST /v1/completions`.
///
/// As ``ChatCompletionRequest``, it refuses by name what it does not act on (`suffix`, `best_of`), and takes what
/// changes nothing (`user`).
struct CompletionRequest: Sendable {
    /// OpenAI's default.
    static let defaultMaximumTokens = 16

    var fields: GenerationFields
    /// The prompts; each has its own answers.
    var prompts: [TextInput]
    /// The field that holds a prompt, for errors.
    var promptNames: [String]
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
        if prompts.count * fields.choiceCount > GenerationFields.maximumChoices {
            throw .wrongValue(
                "n",
                "is \(fields.choiceCount) for \(prompts.count) prompts, and a request may have "
                    + "\(GenerationFields.maximumChoices) answers at most")
        }
        try request.refuse("suffix", unless: [""], "text cannot be inserted; leave it out")
        try request.refuse("best_of", "answers are not chosen among; use 'n' and choose")
        try request.refuse("max_completion_tokens", "it belongs to chat completions; use 'max_tokens'")
        try request.refuse("top_logprobs", "it belongs to chat completions; use 'logprobs' with a number")
        try request.finish()
    }
}
