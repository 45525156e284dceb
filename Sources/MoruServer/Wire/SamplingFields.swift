import MoruBase
import MoruEngine
import MoruModels

/// The fields of a request that say how tokens are chosen; those that are absent leave it to the model's defaults.
///
/// OpenAI's are `temperature`, `top_p`, `presence_penalty`, `frequency_penalty`, `logit_bias` and `seed`; `top_k`,
/// `min_p` and `repetition_penalty` are extensions, named as vLLM names them.
struct SamplingFields: Sendable, Hashable {
    var temperature: Float?
    var topP: Float?
    /// 0 and -1 say "all", as vLLM has it.
    var topK: Int?
    var minP: Float?
    var repetitionPenalty: Float?
    var presencePenalty: Float?
    var frequencyPenalty: Float?
    var logitBias: [Int32: Float] = [:]
    var seed: UInt64?

    init() {}

    /// Reads the fields.
    init(_ request: inout RequestObject) throws(APIError) {
        temperature = try request.number("temperature", in: 0...2)
        topP = try request.positiveNumber("top_p", upTo: 1)
        topK = try request.int("top_k", in: -1...Int.max)
        minP = try request.number("min_p", in: 0...1)
        repetitionPenalty = try request.number("repetition_penalty", in: 0.01...100)
        presencePenalty = try request.number("presence_penalty", in: -2...2)
        frequencyPenalty = try request.number("frequency_penalty", in: -2...2)
        logitBias = try Self.logitBias(&request)
        seed = try request.int("seed").map { UInt64(bitPattern: Int64($0)) }
    }

    /// Sets what the fields come to for a model.
    ///
    /// An absent temperature is what the model's makers suggest, or OpenAI's default of 1 where they suggest nothing.
    func apply(to options: inout GenerationOptions, for pretrained: PretrainedModel) {
        let defaults = pretrained.generationDefaults
        options.temperature = temperature ?? (defaults.samples == false ? 0 : defaults.temperature ?? 1)
        // As many as there are is all, also for a model whose makers suggest fewer.
        options.topK = topK.map { $0 > 0 ? $0 : pretrained.model.facts.vocabularySize }
        options.topP = topP
        options.minP = minP
        options.repetitionPenalty = repetitionPenalty
        options.presencePenalty = presencePenalty ?? 0
        options.frequencyPenalty = frequencyPenalty ?? 0
        options.logitBias = logitBias
    }

    /// `logit_bias`: `{"50256": -100}`.
    private static func logitBias(_ request: inout RequestObject) throws(APIError) -> [Int32: Float] {
        guard let value = request.value("logit_bias") else { return [:] }
        guard case .object(let members) = value else {
            throw .wrongType("logit_bias", expected: "an object from token ids to numbers", found: value)
        }
        var bias: [Int32: Float] = [:]
        for (key, value) in members.members {
            guard let id = Int32(key), id >= 0 else {
                throw .wrongValue("logit_bias", "has the key '\(key)', which is not a token id")
            }
            guard let number = value.double else {
                throw .wrongType("logit_bias.\(key)", expected: "a number", found: value)
            }
            guard (-100...100).contains(number) else {
                throw .wrongValue("logit_bias.\(key)", "is \(number), and must be -100.0 to 100.0")
            }
            bias[id] = Float(number)
        }
        return bias
    }
}
