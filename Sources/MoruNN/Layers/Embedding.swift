import MoruTensor

/// A table of vectors, one for each token id.
public final class Embedding: Sendable {
    /// [count, dim], in any dtype.
    public let weight: Parameter
    /// What the vectors are multiplied by.
    public let scale: Float

    /// Makes a layer of its table.
    public init(weight: Parameter, scale: Float = 1) {
        self.weight = weight
        self.scale = scale
    }

    /// The vectors of ids, [ids.count, dim].
    public func callAsFunction(_ ids: [Int32]) -> Tensor {
        let vectors = embedding(ids, weight.tensor)
        return scale == 1 ? vectors : vectors * scale
    }
}
