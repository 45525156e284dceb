import MoruBase
import MoruNN
import MoruTensor

/// What every part of Moru needs to know about a text model, whatever its architecture.
public struct TextModelFacts: Sendable, Hashable {
    /// The architecture's name as Hugging Face configurations give it: `llama`, `qwen2`...
    public var architecture: String
    /// The number of token ids, which start at 0.
    public var vocabularySize: Int
    /// The maximum number of positions that the model was made for.
    public var contextLength: Int
    /// The number of layers.
    public var layerCount: Int
    /// The size of a hidden state.
    public var hiddenSize: Int
    /// The number of key and value heads.
    public var kvHeads: Int
    /// The size of a head.
    public var headDim: Int

    /// Makes facts.
    public init(
        architecture: String, vocabularySize: Int, contextLength: Int, layerCount: Int, hiddenSize: Int, kvHeads: Int,
        headDim: Int
    ) {
        self.architecture = architecture
        self.vocabularySize = vocabularySize
        self.contextLength = contextLength
        self.layerCount = layerCount
        self.hiddenSize = hiddenSize
        self.kvHeads = kvHeads
        self.headDim = headDim
    }
}

/// A network that turns tokens into hidden states: an encoder, which reads both ways, or a language model.
///
/// Heads, adapters and tuning methods work on any of them.
public protocol TextModel: AnyObject, Sendable {
    /// The facts that callers need.
    var facts: TextModelFacts { get }
    /// Every parameter, in the order of the checkpoint.
    var parameters: [Parameter] { get }
    /// The linear layers inside the blocks, which adapters may adapt.
    var linears: [Linear] { get }

    /// The table of token embeddings; nil if the model supports no virtual tokens (prompt and prefix tuning). A model that
    /// has it passes its batches through ``TokenBatch/embedded(by:)``.
    var inputEmbedding: Embedding? { get }

    /// The last hidden states [N, D] of a batch of N tokens, after the final norm if the architecture has one.
    ///
    /// A segment with a cache continues its sequence: its keys and values are stored in the cache, which advances. A
    /// segment without a cache is a whole sequence, and gradients flow. Encoders support no caches.
    func hiddenStates(_ batch: TokenBatch) -> Tensor
    /// The model's configuration, as `config.json` holds it.
    var configurationJSON: JSON { get }
    /// Paths of the parameters that checkpoints store transposed, [inputs, outputs]; none by default.
    var transposedPaths: Set<String> { get }
}

extension TextModel {
    /// No virtual tokens.
    public var inputEmbedding: Embedding? { nil }
    /// None.
    public var transposedPaths: Set<String> { [] }

    /// The number of parameters, tied ones counted once.
    public var parameterCount: Int { parameters.reduce(0) { $0 + $1.value.count } }

    /// The path of the first parameter with a non-finite element, to diagnose non-finite outputs.
    public func firstNonFiniteParameter() -> String? {
        parameters.first { !$0.value.converted(to: .f32).isFinite }?.path
    }
}
