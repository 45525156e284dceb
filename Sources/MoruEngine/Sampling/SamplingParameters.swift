import MoruBase

/// How the next token is chosen from a model's logits.
///
/// The order of application is that of vLLM: logit bias, repetition penalty, frequency and presence penalties,
/// temperature, min-p, top-k, top-p.
public struct SamplingParameters: Sendable, Hashable {
    /// What logits are divided by; 0 takes the likeliest token.
    public var temperature: Float
    /// Choose among this many likeliest tokens; nil for all.
    public var topK: Int?
    /// Choose among the fewest likeliest tokens that together have this probability, after min-p and top-k
    /// (Holtzman et al., 2020); nil for all.
    public var topP: Float?
    /// Choose among tokens at least this probable relative to the likeliest (Nguyen et al., 2024); nil for all.
    public var minP: Float?
    /// What the logits of tokens in the prompt or the output are divided by, or multiplied when negative
    /// (Keskar et al., 2019); 1 changes nothing.
    public var repetitionPenalty: Float
    /// What is taken off the logits of tokens in the output.
    public var presencePenalty: Float
    /// What is taken off the logits of tokens in the output, for each time that they occur.
    public var frequencyPenalty: Float
    /// What is added to the logits of tokens.
    public var logitBias: [Int32: Float]
    /// The start of the random numbers; the same seed chooses the same tokens, whatever else is being generated. nil
    /// for a fresh one.
    public var seed: UInt64?

    /// Makes parameters.
    public init(
        temperature: Float = 0, topK: Int? = nil, topP: Float? = nil, minP: Float? = nil, repetitionPenalty: Float = 1,
        presencePenalty: Float = 0, frequencyPenalty: Float = 0, logitBias: [Int32: Float] = [:], seed: UInt64? = nil
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
    }

    /// Checks every setting.
    ///
    /// - Throws: ``MoruError/Code/samplingInvalid``, naming the setting and its range.
    public func validate(vocabularySize: Int) throws(MoruError) {
        try require(temperature.isFinite && temperature >= 0, "temperature", "\(temperature)", "0 or more")
        if let topK { try require(topK >= 1, "top_k", "\(topK)", "1 or more") }
        if let topP { try require(topP > 0 && topP <= 1, "top_p", "\(topP)", "above 0, up to 1") }
        if let minP { try require(minP >= 0 && minP <= 1, "min_p", "\(minP)", "0 to 1") }
        // So that no logit becomes infinite
        try require(
            (1e-6...1e6).contains(repetitionPenalty), "repetition_penalty", "\(repetitionPenalty)",
            "0.000001 to 1000000")
        try require((-2...2).contains(presencePenalty), "presence_penalty", "\(presencePenalty)", "-2 to 2")
        try require((-2...2).contains(frequencyPenalty), "frequency_penalty", "\(frequencyPenalty)", "-2 to 2")
        for (id, bias) in logitBias.sorted(by: { $0.key < $1.key }) {
            try require(
                id >= 0 && id < vocabularySize, "logit_bias", "for id \(id)", "ids 0 to \(vocabularySize - 1)")
            try require((-100...100).contains(bias), "logit_bias", "\(bias) for id \(id)", "-100 to 100")
        }
    }

    private func require(_ holds: Bool, _ name: String, _ value: String, _ range: String) throws(MoruError) {
        if !holds { throw MoruError(.samplingInvalid, "\(name) is \(value)", remedy: "use \(range)") }
    }
}
