import MoruBase
import MoruNN
import MoruTensor
import MoruText

/// A model directory or GGUF file, opened: the network, its tokenizer, its chat template and its habits.
public struct PretrainedModel: Sendable {
    /// The network.
    public let model: any LanguageModel
    /// The tokenizer.
    public let tokenizer: Tokenizer
    /// How messages become text; nil when the model brings no template.
    public let chatTemplate: ChatTemplate?
    /// How the model's makers suggest to generate.
    public let generationDefaults: GenerationDefaults
    /// Where it was loaded from.
    public let path: String
    /// How its weights are stored, for people: `safetensors bf16`, `GGUF Q4_1`.
    public let storageDescription: String
    /// The licence that its files name, if any.
    public let license: String?

    /// Makes a model of its parts.
    public init(
        model: any LanguageModel, tokenizer: Tokenizer, chatTemplate: ChatTemplate?,
        generationDefaults: GenerationDefaults, path: String, storageDescription: String, license: String?
    ) {
        self.model = model
        self.tokenizer = tokenizer
        self.chatTemplate = chatTemplate
        self.generationDefaults = generationDefaults
        self.path = path
        self.storageDescription = storageDescription
        self.license = license
    }

    /// Renders a conversation with the model's template (ChatML where it has none), and encodes it.
    ///
    /// - Parameters:
    ///   - messages: The conversation so far.
    ///   - addGenerationPrompt: Whether to end with the opening of the assistant's turn.
    ///   - tools: Functions that the model may call, as JSON schemas.
    /// - Returns: The prompt as text and as token ids. The template writes the special tokens itself.
    /// - Throws: What the template throws.
    public func prompt(
        for messages: [ChatMessage], addGenerationPrompt: Bool = true, tools: [JSON]? = nil
    ) throws(MoruError) -> (text: String, tokens: [Int32]) {
        let template = chatTemplate ?? .chatML
        let text = try template.render(
            messages: messages, addGenerationPrompt: addGenerationPrompt, tools: tools, extra: templateVariables)
        return (text, tokenizer.encode(text, addSpecialTokens: false, parseSpecial: true))
    }

    /// What templates expect besides the messages: the text of the special tokens.
    public var templateVariables: JSONObject {
        var variables = JSONObject()
        if let id = tokenizer.beginOfSequence, let piece = tokenizer.piece(id) {
            variables["bos_token"] = .string(piece)
        }
        if let id = tokenizer.endOfSequence, let piece = tokenizer.piece(id) { variables["eos_token"] = .string(piece) }
        return variables
    }
}

/// How a model's makers suggest to generate (`generation_config.json`).
public struct GenerationDefaults: Sendable, Hashable {
    /// Ids that end a generation.
    public var endIDs: [Int32]
    /// Whether to sample, rather than take the likeliest token.
    public var samples: Bool?
    /// Sampling temperature.
    public var temperature: Float?
    /// Sampling among the likeliest k.
    public var topK: Int?
    /// Sampling among the likeliest tokens that together have this probability.
    public var topP: Float?
    /// What the logits of seen tokens are divided by.
    public var repetitionPenalty: Float?

    /// Makes defaults.
    public init(
        endIDs: [Int32] = [], samples: Bool? = nil, temperature: Float? = nil, topK: Int? = nil, topP: Float? = nil,
        repetitionPenalty: Float? = nil
    ) {
        self.endIDs = endIDs
        self.samples = samples
        self.temperature = temperature
        self.topK = topK
        self.topP = topP
        self.repetitionPenalty = repetitionPenalty
    }
}
