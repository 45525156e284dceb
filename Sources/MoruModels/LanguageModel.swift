import MoruNN
import MoruTensor

/// An autoregressive language model: one definition that trains, tunes and serves.
public protocol LanguageModel: TextModel {
    /// The output projection [V, D], shared with the embedding where they are tied.
    var outputProjection: Parameter { get }
    /// What becomes of the products with it before they are logits; nothing by default.
    var logitTransform: LogitTransform { get }
    /// What training adds to its loss to even out the choices of routers; nil for nothing.
    var routerLoss: RouterLoss? { get }
    /// What a cache of a sequence holds.
    ///
    /// - Parameter dtype: How keys and values are stored: `f32`, `bf16`, or `q8_0`, for which the elements of a head
    ///   must be a multiple of 32. A model whose caches hold something else than keys and values may keep to f32.
    func cacheLayout(_ dtype: DType) -> CacheLayout
}

extension LanguageModel {
    /// Nothing.
    public var routerLoss: RouterLoss? { nil }

    /// None.
    public var logitTransform: LogitTransform { .none }

    /// Logits [N, V] of hidden states [N, D].
    public func logits(_ hiddenStates: Tensor) -> Tensor {
        hiddenStates.logits(outputProjection.tensor, logitTransform)
    }

    /// The cross-entropy of hidden states [N, D] against N target ids in nats, summed, without ever holding all logits;
    /// a negative target is left out.
    public func crossEntropy(_ hiddenStates: Tensor, _ targets: [Int32]) -> Tensor {
        linearCrossEntropy(hiddenStates, outputProjection.tensor, targets, logitTransform)
    }

    /// Keys and values of every layer.
    public func cacheLayout(_ dtype: DType) -> CacheLayout {
        CacheLayout(layerCount: facts.layerCount, kvHeads: facts.kvHeads, headDim: facts.headDim, dtype: dtype)
    }

    /// An empty cache for one sequence, with pages of its own; see ``cacheLayout(_:)``.
    public func makeCache(_ dtype: DType) -> SequenceCache { SequenceCache(cacheLayout(dtype)) }

    /// An empty cache for one sequence, in f32.
    public func makeCache() -> SequenceCache { makeCache(.f32) }
}
