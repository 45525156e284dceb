import MoruBase
import MoruModels
import MoruNN
import MoruText

/// What to continue.
public enum Prompt: Sendable, ExpressibleByStringLiteral {
    /// Text as it is; text that spells a special token becomes that token.
    case text(String)
    /// A conversation, which the model's chat template turns into text.
    case chat([ChatMessage])
    /// Token ids.
    case tokens([Int32])

    /// Text as it is.
    public init(stringLiteral value: String) { self = .text(value) }
}

/// How to generate; what is nil is left to the model's own `generation_config.json`.
public struct GenerationOptions: Sendable {
    /// What logits are divided by; 0 takes the likeliest token. nil: the model's, where it asks for sampling, else 0.
    public var temperature: Float?
    /// Choose among this many likeliest tokens.
    public var topK: Int?
    /// Choose among the fewest likeliest tokens that together have this probability.
    public var topP: Float?
    /// Choose among tokens at least this probable relative to the likeliest.
    public var minP: Float?
    /// What the logits of seen tokens are divided by.
    public var repetitionPenalty: Float?
    /// What is taken off the logits of tokens in the output.
    public var presencePenalty: Float
    /// What is taken off the logits of tokens in the output, for each time that they occur.
    public var frequencyPenalty: Float
    /// What is added to the logits of tokens.
    public var logitBias: [Int32: Float]
    /// The start of the random numbers; nil for a fresh one.
    public var seed: UInt64?
    /// The most tokens to generate; nil for ``defaultMaximumTokens``, or less where the context ends before.
    public var maximumTokens: Int?
    /// The form that the answer must have; nil for any.
    public var structure: StructuredOutput?
    /// Texts that end the generation; the one that does is not part of the answer.
    public var stop: [String]
    /// Tokens that end the generation besides the model's own end tokens.
    public var furtherEndIDs: Set<Int32> = []
    /// The adapter that acts on this generation.
    public var adapter: (any Adapter)?
    /// Whose request it is; see ``GenerationRequest/client``.
    public var client = ""
    /// With a number, tokens come with log-probabilities and this many likeliest alternatives.
    public var logProbabilities: Int?
    /// With a number, the prompt's tokens are scored too, with this many likeliest alternatives.
    public var promptLogProbabilities: Int?
    /// Whether to go on after the model's end token.
    public var ignoresEndTokens: Bool
    /// Whether the prompt may begin with what was computed for others; see ``GenerationRequest/reusesPrefixes``.
    public var reusesPrefixes = true
    /// Whether special tokens appear in the text.
    public var showsSpecialTokens: Bool

    /// Tokens that are generated at most where nothing else is said.
    public static let defaultMaximumTokens = 1024

    /// Makes options.
    public init(
        temperature: Float? = nil, topK: Int? = nil, topP: Float? = nil, minP: Float? = nil,
        repetitionPenalty: Float? = nil, presencePenalty: Float = 0, frequencyPenalty: Float = 0,
        logitBias: [Int32: Float] = [:], seed: UInt64? = nil, maximumTokens: Int? = nil,
        structure: StructuredOutput? = nil, stop: [String] = [], adapter: (any Adapter)? = nil,
        logProbabilities: Int? = nil, promptLogProbabilities: Int? = nil, ignoresEndTokens: Bool = false,
        showsSpecialTokens: Bool = false
    ) {
        self.temperature = temperature
        self.topK = topK
        self.topP = topP
        self.minP = minP
        self.repetitionPenalty = repetitionPenalty
        self.presencePenalty = presencePenalty
        self.frequencyPenalty = frequencyPenalty
        self.logitBias = logitBias
        self.seed = seed
        self.maximumTokens = maximumTokens
        self.structure = structure
        self.stop = stop
        self.adapter = adapter
        self.logProbabilities = logProbabilities
        self.promptLogProbabilities = promptLogProbabilities
        self.ignoresEndTokens = ignoresEndTokens
        self.showsSpecialTokens = showsSpecialTokens
    }

    /// The sampling that these options mean for a model with the given habits.
    public func sampling(_ defaults: GenerationDefaults) -> SamplingParameters {
        SamplingParameters(
            temperature: temperature ?? (defaults.samples == true ? defaults.temperature ?? 1 : 0),
            topK: topK ?? defaults.topK.flatMap { $0 > 0 ? $0 : nil }, topP: topP ?? defaults.topP, minP: minP,
            repetitionPenalty: repetitionPenalty ?? defaults.repetitionPenalty ?? 1, presencePenalty: presencePenalty,
            frequencyPenalty: frequencyPenalty, logitBias: logitBias, seed: seed)
    }
}
