import MoruBase
import MoruNN
import MoruText

/// What to generate, in token ids; text lives above the engine.
public struct GenerationRequest: Sendable {
    /// The tokens to continue.
    public var prompt: [Int32]
    /// How the next token is chosen.
    public var sampling: SamplingParameters
    /// The most tokens to generate; 0 only scores the prompt.
    public var maximumTokens: Int
    /// Ids that end the generation; the one that does is reported, not emitted.
    public var endIDs: Set<Int32>
    /// With a number, each token's log-probability is reported, with this many likeliest alternatives.
    public var logProbabilities: Int?
    /// With a number, the prompt's tokens are scored too, with this many likeliest alternatives.
    public var promptLogProbabilities: Int?
    /// The adapter that acts on this request.
    public var adapter: (any Adapter)?
    /// Where the answer begins in the grammar that it must keep to; nil for any answer.
    public var grammar: GrammarMatcher?
    /// Whether pages that others have computed may stand in for computing the prompt's beginning; the answer is the same.
    public var reusesPrefixes: Bool
    /// Whose request it is: clients share the engine fairly, whatever the number of their requests.
    public var client: String

    /// Makes a request.
    public init(
        prompt: [Int32], sampling: SamplingParameters = SamplingParameters(), maximumTokens: Int,
        endIDs: Set<Int32> = [], logProbabilities: Int? = nil, promptLogProbabilities: Int? = nil,
        adapter: (any Adapter)? = nil, grammar: GrammarMatcher? = nil, reusesPrefixes: Bool = true,
        client: String = ""
    ) {
        self.prompt = prompt
        self.sampling = sampling
        self.maximumTokens = maximumTokens
        self.endIDs = endIDs
        self.logProbabilities = logProbabilities
        self.promptLogProbabilities = promptLogProbabilities
        self.adapter = adapter
        self.grammar = grammar
        self.reusesPrefixes = reusesPrefixes
        self.client = client
    }

    /// The most alternatives that may be asked for at each token.
    public static let maximumAlternatives = 100

    /// Checks the request against a model.
    ///
    /// - Parameter cacheLimit: What bounds the context, where it is not the model.
    /// - Throws: ``MoruError/Code/requestInvalid``, ``MoruError/Code/samplingInvalid`` or
    ///   ``MoruError/Code/promptTooLong``.
    func validate(vocabularySize: Int, contextLength: Int, cacheLimit: String? = nil) throws(MoruError) {
        guard !prompt.isEmpty else {
            throw MoruError(.requestInvalid, "the prompt has no tokens", remedy: "give at least one token")
        }
        if let position = prompt.firstIndex(where: { $0 < 0 || $0 >= vocabularySize }) {
            throw MoruError(
                .requestInvalid,
                "prompt token \(position) is \(prompt[position]), outside the model's \(vocabularySize) ids",
                remedy: "encode the prompt with the model's own tokenizer")
        }
        guard maximumTokens >= 0 else {
            throw MoruError(
                .requestInvalid, "the maximum number of tokens is \(maximumTokens)", remedy: "use 0 or more")
        }
        for (name, wanted) in [
            ("log-probabilities", logProbabilities), ("prompt log-probabilities", promptLogProbabilities),
        ] {
            if let wanted, !(0...Self.maximumAlternatives).contains(wanted) {
                throw MoruError(
                    .requestInvalid, "\(wanted) alternatives were requested with the \(name)",
                    remedy: "use 0 to \(Self.maximumAlternatives)")
            }
        }
        try sampling.validate(vocabularySize: vocabularySize)
        // A token to be generated needs a position of its own.
        let limit = contextLength - min(1, maximumTokens)
        guard prompt.count <= limit else {
            throw MoruError(
                .promptTooLong,
                "the prompt has \(prompt.count) tokens, \(prompt.count - limit) more than the context of "
                    + "\(contextLength) tokens \(maximumTokens > 0 ? "holds with one token to generate" : "holds")"
                    + (cacheLimit.map { ": \($0)" } ?? ""),
                remedy: cacheLimit == nil
                    ? "shorten the prompt, or use a model with a longer context"
                    : "shorten the prompt, or give the engine more memory for keys and values")
        }
    }
}
