import MoruBase
import MoruNN
import MoruTensor
import MoruText

/// How virtual tokens begin.
public enum VirtualTokenStart: Sendable, Hashable {
    /// Random numbers, spread as the model's own embeddings are (prompts), or small ones (prefixes).
    case random
    /// What the model makes of a text's tokens: their embeddings, or their keys and values. A text with fewer tokens
    /// than wanted is repeated, one with more is cut.
    case text(String)
}

extension PromptTuningAdapter {
    /// A fresh adapter for an encoder or a language model.
    ///
    /// - Throws: ``MoruError/Code/adapterUnsupported`` where the model takes no virtual tokens,
    ///   ``MoruError/Code/adapterMismatch`` where their number is out of range or the text has no tokens.
    public convenience init(
        tokens count: Int, start: VirtualTokenStart, for model: any TextModel, _ tokenizer: Tokenizer, seed: UInt64
    ) throws(MoruError) {
        let shape = try model.shape(of: .embeddings, count: count)
        guard let table = model.inputEmbedding else { preconditionFailure("checked with the shape") }
        switch start {
        case .text(let text):
            self.init(table(try tokenizer.startingTokens(of: text, count: count)).detached())
        case .random:
            let weight = table.weight.value
            let sample = weight.rows(0..<min(weight.shape[0], 1024)).converted(to: .f32)
            let spread = (sample.sumOfSquares() / Double(max(1, sample.count))).squareRoot()
            let deviation = spread * Double(table.scale)
            var generator = RandomGenerator(seed: seed ^ stableHash(VirtualTokens.parameterName))
            self.init(.normal(shape, standardDeviation: Float(deviation), using: &generator))
        }
    }
}

extension PrefixTuningAdapter {
    /// A fresh adapter for an encoder or a language model. An encoder's begins at random.
    ///
    /// - Throws: As ``PromptTuningAdapter/init(tokens:start:for:_:seed:)``, and ``MoruError/Code/adapterUnsupported``
    ///   for an encoder that is to begin with a text.
    public convenience init(
        tokens count: Int, start: VirtualTokenStart, for model: any TextModel, _ tokenizer: Tokenizer, seed: UInt64
    ) throws(MoruError) {
        let shape = try model.shape(of: .keysAndValues, count: count)
        let numbers: Tensor
        switch start {
        case .text(let text):
            guard let model = model as? any LanguageModel else {
                throw MoruError(
                    .adapterUnsupported,
                    "an encoder's keys and values cannot begin with a text: without what follows it they mean nothing",
                    remedy: "begin at random (virtual_tokens.text: null), or choose prompt tuning")
            }
            let cache = model.makeCache()
            var batch = TokenBatch()
            batch.append(try tokenizer.startingTokens(of: text, count: count), cache: cache)
            _ = model.hiddenStates(batch)
            let parts = (0..<model.facts.layerCount).flatMap { layer in
                let rows = cache.rows(0..<count, layer: layer)
                return [rows.keys, rows.values]
            }
            // Parts are [tokens, elements] one after the other; a token's parts belong beside each other
            let elements = shape[1] / parts.count
            let order = (0..<count).flatMap { token in parts.indices.map { $0 * count + token } }
            numbers = Tensor.concatenated(parts).reshaped(count * parts.count, elements).gatheringRows(order)
        case .random:
            var generator = RandomGenerator(seed: seed ^ stableHash(VirtualTokens.parameterName))
            numbers = .normal(shape, standardDeviation: 0.02, using: &generator)
        }
        self.init(numbers.reshaped(shape), layerCount: model.facts.layerCount, kvHeads: model.facts.kvHeads)
    }
}

extension Tokenizer {
    fileprivate func startingTokens(of text: String, count: Int) throws(MoruError) -> [Int32] {
        let tokens = encode(text, addSpecialTokens: false, parseSpecial: true)
        guard !tokens.isEmpty else {
            throw MoruError(
                .adapterMismatch, "the starting text for virtual tokens has no tokens",
                remedy: "describe the task in a sentence, or begin at random")
        }
        return (0..<count).map { tokens[$0 % tokens.count] }
    }
}
