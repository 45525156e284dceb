import MoruBase
import MoruNN
import MoruTensor

/// What every part of Moru needs to know of a language model, whatever its architecture.
public struct LanguageModelFacts: Sendable, Hashable {
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

/// An autoregressive language model: one definition that trains, tunes and serves.
public protocol LanguageModel: AnyObject, Sendable {
    /// The facts that callers need.
    var facts: LanguageModelFacts { get }
    /// Every parameter, in the order of the checkpoint.
    var parameters: [Parameter] { get }
    /// The linear layers inside the blocks, which adapters may adapt.
    var linears: [Linear] { get }
    /// The output projection [V, D], shared with the embedding where they are tied.
    var outputProjection: Parameter { get }

    /// The table that turns tokens into vectors; nil where nothing but tokens can stand in a sequence, so that there
    /// are no virtual tokens (prompt and prefix tuning). A model that has it passes its batches through
    /// ``TokenBatch/embedded(by:)``.
    var inputEmbedding: Embedding? { get }

    /// The last hidden states [N, D], normalised, of a batch of N tokens.
    ///
    /// Segments with a cache continue their sequence: their keys and values are stored in it and the cache advances.
    /// Without a cache a segment is a whole sequence of its own, and gradients flow.
    func hiddenStates(_ batch: TokenBatch) -> Tensor
    /// An empty cache for one sequence.
    ///
    /// - Parameter dtype: How keys and values are stored: `f32`, `bf16`, or `q8_0`, for which the elements of a head
    ///   must be a multiple of 32. A model whose caches hold something else than keys and values may keep to f32.
    func makeCache(_ dtype: DType) -> SequenceCache
    /// The model's configuration, as `config.json` holds it.
    var configurationJSON: JSON { get }
    /// Paths of the parameters that checkpoints store transposed, [inputs, outputs]; none by default.
    var transposedPaths: Set<String> { get }
}

extension LanguageModel {
    /// Nothing but tokens.
    public var inputEmbedding: Embedding? { nil }
    /// None.
    public var transposedPaths: Set<String> { [] }

    /// Logits [N, V] of hidden states [N, D].
    public func logits(_ hiddenStates: Tensor) -> Tensor { hiddenStates.linear(outputProjection.tensor) }

    /// An empty cache for one sequence, of keys and values.
    public func makeCache(_ dtype: DType) -> SequenceCache {
        SequenceCache(layerCount: facts.layerCount, kvHeads: facts.kvHeads, headDim: facts.headDim, dtype: dtype)
    }

    /// An empty cache for one sequence, in f32.
    public func makeCache() -> SequenceCache { makeCache(.f32) }

    /// The number of parameters, tied ones counted once.
    public var parameterCount: Int { parameters.reduce(0) { $0 + $1.value.count } }

    /// The name of the first parameter that holds a number that is not finite, for diagnosis when an output does not.
    public func firstNonFiniteParameter() -> String? {
        parameters.first { !$0.value.converted(to: .f32).isFinite }?.path
    }
}
