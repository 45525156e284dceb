import CMoruKernels

/// The weights of one layer of a decoder: attention with rotary positions and grouped queries, then a gated
/// feed-forward or a mixture of them, each normalised before (RMS), in some models after too, and added to the residual
/// stream.
public struct DecoderLayer {
    /// A fully connected layer.
    public struct Projection {
        let weight: Tensor
        let bias: Tensor?
        /// Its place among the layers that updates are known by; nil where there are none of it.
        let place: Int?

        /// A layer of a weight [outputs, inputs], in any dtype, and a bias [outputs], or nil.
        ///
        /// - Parameter place: Its place in the lists of ``RowUpdates``; nil for none.
        public init(weight: Tensor, bias: Tensor?, place: Int? = nil) {
            self.weight = weight
            self.bias = bias
            self.place = place
        }
    }

    /// What follows attention: a gated feed-forward, or a mixture of them.
    public enum FeedForward {
        /// The projections of one feed-forward.
        case dense(gate: Projection, up: Projection, down: Projection)
        /// Experts, of which the router, [experts, dim], chooses some for each row; they have no biases. The weights of
        /// an expert are asked for when a row goes to it.
        case experts(
            router: Tensor, RoutingOptions,
            weights: @Sendable (_ expert: Int) -> (gate: Tensor, up: Tensor, down: Tensor))
    }

    /// The weights of the two normalisations, [dim].
    public var inputNorm, feedForwardNorm: Tensor
    /// The weights that normalise what attention and feed-forward give, [dim], or nil.
    public var postAttentionNorm, postFeedForwardNorm: Tensor?
    /// The weights that normalise each head's queries and keys, [headDim], or nil.
    public var queryNorm, keyNorm: Tensor?
    /// What is added to mean squares.
    public var epsilon: Float
    /// The projections of attention.
    public var query, key, value, output: Projection
    /// What follows attention.
    public var feedForward: FeedForward
    /// The activation of a dense feed-forward's gate.
    public var activation = Activation.silu
    /// Query heads.
    public var heads: Int
    /// How attention is computed.
    public var attention: AttentionOptions
    /// Which of a pass's angles turn queries and keys; nil where nothing turns them.
    public var angles: Int?
    /// The factor of what each half of the layer adds to the residual stream.
    public var residualScale: Float
    /// The layer's number in the caches.
    public var number: Int

    /// Makes a layer.
    public init(
        inputNorm: Tensor, feedForwardNorm: Tensor, queryNorm: Tensor?, keyNorm: Tensor?, epsilon: Float,
        attention projections: (query: Projection, key: Projection, value: Projection, output: Projection),
        feedForward: FeedForward, heads: Int, options: AttentionOptions, angles: Int? = 0, residualScale: Float = 1,
        number: Int
    ) {
        (self.inputNorm, self.feedForwardNorm) = (inputNorm, feedForwardNorm)
        (self.queryNorm, self.keyNorm, self.epsilon) = (queryNorm, keyNorm, epsilon)
        (query, key, value, output) = projections
        self.feedForward = feedForward
        (self.heads, attention, self.number) = (heads, options, number)
        (self.angles, self.residualScale) = (angles, residualScale)
    }
}

/// Rows that low-rank updates of a model's layers act on.
public typealias RowUpdates = (rows: Range<Int>, updates: LowRankUpdates)

/// A decoder's layers, prepared once to let few rows pass many times; for inference only, since it has no backward rule.
///
/// What the operations of the layers would compute one by one is computed here without making a tensor for each: at a
/// few rows a step is bound by reading the weights, and everything else should take no time. The results are those of
/// the single operations, bit for bit.
public protocol DecoderPass: Sendable {
    /// Lets rows pass all layers: their keys and values are stored in the caches.
    ///
    /// - Parameters:
    ///   - embedded: The residual stream before the first layer, [N, dim], f32.
    ///   - runs: One for each row: its sequence's cache and its position there.
    ///   - angles: The angles of the rows' positions, which layers know by number.
    ///   - updates: What acts on some of the rows.
    /// - Returns: The residual stream after the last layer, and what that layer adds to it, each [N, dim].
    func callAsFunction(
        _ embedded: Tensor, runs: [CachedAttentionRun], angles: [RotaryAngles], updates: [RowUpdates]
    ) -> (residual: Tensor, delta: Tensor)
}

/// Prepares a pass of at most `Runtime.fewRows` rows; its layers are at least one.
public func decoderPass(_ layers: [DecoderLayer]) -> any DecoderPass {
    let dim = layers.first?.inputNorm.count
    precondition(
        layers.allSatisfy { layer in
            layer.inputNorm.count == dim && layer.query.weight.shape[1] == dim && layer.output.weight.shape[0] == dim
                && layer.key.weight.shape == layer.value.weight.shape
                && layer.output.weight.shape[1] == layer.query.weight.shape[0]
        } && dim != nil, "decoderPass: the layers do not fit \(dim ?? 0) elements")
    return Runtime.shared.backend.decoderPass(layers)
}
