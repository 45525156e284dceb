import MoruTensor

/// A table of vectors, one for each token id.
public final class Embedding: Sendable {
    /// [count, dim], in any dtype.
    public let weight: Parameter

    /// Makes a layer of its table.
    public init(weight: Parameter) { self.weight = weight }

    /// The vectors of ids, [ids.count, dim].
    public func callAsFunction(_ ids: [Int32]) -> Tensor { embedding(ids, weight.tensor) }
}
