import MoruNN
import MoruTensor

/// An autoregressive language model: one definition that trains, tunes and serves.
public protocol LanguageModel: TextModel {
    /// The output projection [V, D], shared with the embedding where they are tied.
    var outputProjection: Parameter { get }
    /// An empty cache for one sequence.
    ///
    /// - Parameter dtype: How keys and values are stored: `f32`, `bf16`, or `q8_0`, for which the elements of a head
    ///   must be a multiple of 32. A model whose caches hold something else than keys and values may keep to f32.
    func makeCache(_ dtype: DType) -> SequenceCache
}

extension LanguageModel {
    /// Logits [N, V] of hidden states [N, D].
    public func logits(_ hiddenStates: Tensor) -> Tensor { hiddenStates.linear(outputProjection.tensor) }

    /// An empty cache for one sequence, of keys and values.
    public func makeCache(_ dtype: DType) -> SequenceCache {
        SequenceCache(layerCount: facts.layerCount, kvHeads: facts.kvHeads, headDim: facts.headDim, dtype: dtype)
    }

    /// An empty cache for one sequence, in f32.
    public func makeCache() -> SequenceCache { makeCache(.f32) }
}
