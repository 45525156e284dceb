import MoruBase

/// The body of `POST /v1/completions`.
///
/// As ``ChatCompletionRequest``, it refuses by name what it does not act on (`suffix`, `best_of`), and takes what
/// changes nothing (`user`).
struct CompletionRequest: Sendable {
    /// What is to be continued.
    enum Prompt: Sendable, Hashable {
        case text(String)
        case tokens([Int32])
    }

    /// OpenAI's default.
    static let defaultMaximumTokens = 16

    var fields: GenerationFields
    /// The prompts; each has its own answers.
    var prompts: [Prompt]
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
        (prompts, promptNames) = try Self.prompts(prompt)
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

    /// `prompt`: a string, an array of strings, an array of token ids, or an array of arrays of token ids.
    private static func prompts(_ value: JSON) throws(APIError) -> ([Prompt], [String]) {
        switch value {
        case .string(let text): return ([.text(text)], ["prompt"])
        case .array(let elements):
            guard let first = elements.first else { throw .wrongValue("prompt", "is empty") }
            if case .int = first { return ([.tokens(try tokens(elements, path: "prompt"))], ["prompt"]) }
            let names = elements.indices.map { "prompt[\($0)]" }
            var prompts: [Prompt] = []
            for (element, name) in zip(elements, names) { prompts.append(try prompt(element, name, like: first)) }
            return (prompts, names)
        default:
            throw .wrongType("prompt", expected: "a string or an array of strings, ids or arrays of ids", found: value)
        }
    }

    private static func prompt(_ element: JSON, _ name: String, like first: JSON) throws(APIError) -> Prompt {
        switch (element, first) {
        case (.string(let text), .string): return .text(text)
        case (.array(let ids), .array):
            guard !ids.isEmpty else { throw .wrongValue(name, "is empty") }
            return .tokens(try tokens(ids, path: name))
        default:
            let expected =
                first.string != nil
                ? "a string" : first.array != nil ? "an array of token ids" : "a string or a token id"
            throw .wrongType(name, expected: expected, found: element)
        }
    }

    private static func tokens(_ elements: [JSON], path: String) throws(APIError) -> [Int32] {
        var ids: [Int32] = []
        ids.reserveCapacity(elements.count)
        for (position, element) in elements.enumerated() {
            guard case .int(let value) = element else {
                throw .wrongType("\(path)[\(position)]", expected: "a token id", found: element)
            }
            guard let id = Int32(exactly: value), id >= 0 else {
                throw .wrongValue("\(path)[\(position)]", "is \(value), which is no token id")
            }
            ids.append(id)
        }
        return ids
    }
}
