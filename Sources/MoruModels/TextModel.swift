import MoruBase
import MoruNN
import MoruTensor

/// What every part of Moru needs to know of a text model, whatever its architecture.
public struct TextModelFacts: Sendable, Hashable {
    /// The architecture's name as Hugging Face configurations give it: `llama`, `qwen2`...
    public var architecture: String
    /// Token ids run from 0 to below this.
    public var vocabularySize: Int
    /// The most positions that the model was made for.
    public var contextLength: Int
    /// Layers.
    public var layerCount: Int
    /// Elements of a hidden state.
    public var hiddenSize: Int
    /// Heads of keys and values.
    public var kvHeads: Int
    /// Elements of a head.
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

    /// The table that turns tokens into vectors; nil where nothing but tokens can stand in a sequence, so that there
    /// are no virtual tokens (prompt and prefix tuning). A model that has it passes its batches through
    /// ``TokenBatch/embedded(by:)``.
    var inputEmbedding: Embedding? { get }

    /// The last hidden states [N, D] of a batch of N tokens; normalised where the architecture ends in a normalisation.
    ///
    /// Segments with a cache continue their sequence: their keys and values are stored in it and the cache advances.
    /// Without a cache a segment is a whole sequence of its own, and gradients flow. An encoder knows no caches.
    func hiddenStates(_ batch: TokenBatch) -> Tensor
    /// The model's configuration, as `config.json` holds it.
    var configurationJSON: JSON { get }
    /// Paths of the parameters that checkpoints store transposed, [inputs, outputs]; none by default.
    var transposedPaths: Set<String> { get }
}

extension TextModel {
    /// Nothing but tokens.
    public var inputEmbedding: Embedding? { nil }
    /// None.
    public var transposedPaths: Set<String> { [] }

    /// The number of parameters, tied ones counted once.
    public var parameterCount: Int { parameters.reduce(0) { $0 + $1.value.count } }

    /// The name of the first parameter that holds a number that is not finite, for diagnosis when an output does not.
    public func firstNonFiniteParameter() -> String? {
        parameters.first { !$0.value.converted(to: .f32).isFinite }?.path
    }
}
