/// A layer normalisation's parameters.
public struct EncoderNorm {
    let weight: Tensor
    let bias: Tensor?
    let epsilon: Float

    /// Parameters [dim].
    public init(weight: Tensor, bias: Tensor?, epsilon: Float) {
        (self.weight, self.bias, self.epsilon) = (weight, bias, epsilon)
    }
}

/// The weights of one layer of an encoder: bidirectional attention, then a feed-forward, each added to its input and
/// normalised after.
public struct EncoderLayer {
    /// The projections of attention.
    public var query, key, value, output: DecoderLayer.Projection
    /// The projections of the feed-forward.
    public var up, down: DecoderLayer.Projection
    /// The normalisations after each.
    public var attentionNorm, outputNorm: EncoderNorm

    /// Makes a layer.
    public init(
        query: DecoderLayer.Projection, key: DecoderLayer.Projection, value: DecoderLayer.Projection,
        output: DecoderLayer.Projection, attentionNorm: EncoderNorm, up: DecoderLayer.Projection,
        down: DecoderLayer.Projection, outputNorm: EncoderNorm
    ) {
        (self.query, self.key, self.value, self.output) = (query, key, value, output)
        (self.up, self.down) = (up, down)
        (self.attentionNorm, self.outputNorm) = (attentionNorm, outputNorm)
    }
}

/// An encoder's weights, prepared once to let many texts pass; for inference only, since it has no backward rule.
///
/// What the operations of the layers would compute one by one is computed here for a few texts at a time, whose values
/// stay in the cache of the thread that takes them. A row's result does not depend on the other texts.
public protocol EncoderPass: Sendable {
    /// The last hidden states [N, dim], f32.
    ///
    /// - Parameters:
    ///   - embeddings: Tables [V, dim] in any dtype, with N ids each, whose rows are added up.
    ///   - segments: The rows of each text; they cover 0 ..< N in order.
    func hiddenStates(_ embeddings: [(table: Tensor, ids: [Int32])], segments: [Range<Int>]) -> Tensor
}

/// Prepares a pass; its products round as ``Runtime/precision`` says now.
///
/// - Parameters:
///   - norm: What the embeddings are normalised by.
///   - layers: The layers, of the same sizes.
///   - heads: Heads of attention.
///   - activation: The feed-forward's.
public func encoderPass(
    norm: EncoderNorm, layers: [EncoderLayer], heads: Int, activation: Activation
) -> any EncoderPass {
    let dim = norm.weight.count
    precondition(
        heads > 0 && dim % heads == 0
            && layers.allSatisfy {
                $0.query.weight.shape == [dim, dim] && $0.output.weight.shape == [dim, dim]
                    && $0.up.weight.shape[1] == dim && $0.down.weight.shape == [dim, $0.up.weight.shape[0]]
            }, "encoderPass: the layers do not fit \(dim) elements in \(heads) heads")
    return Runtime.shared.backend.encoderPass(norm: norm, layers: layers, heads: heads, activation: activation)
}
