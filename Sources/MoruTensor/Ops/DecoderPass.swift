import CMoruKernels

/// The weights of one layer of a decoder: attention with rotary positions and grouped queries, then a gated
/// feed-forward or a mixture of them, each normalised before (RMS), in some models after too, and added to the residual
/// stream.
public struct DecoderLayer {
    /// A fully connected layer.
    public struct Projection {
        let weight: Tensor
        let bias: Tensor?
        /// What some rows' products get added before the bias.
        var updates: ArraySlice<Update> = []

        /// A layer of a weight [outputs, inputs], in any dtype, and a bias [outputs], or nil.
        public init(weight: Tensor, bias: Tensor?, updates: ArraySlice<Update> = []) {
            self.weight = weight
            self.bias = bias
            self.updates = updates
        }
    }

    /// A low-rank update of some rows' products, made by an `UpdatePlan`.
    public struct Update {
        let rows: Range<Int>
        let arguments: moru_low_rank
    }

    /// What follows attention: a gated feed-forward, or a mixture of them.
    public enum FeedForward {
        /// The projections of one feed-forward.
        case dense(gate: Projection, up: Projection, down: Projection)
        /// Experts, of which the router, [experts, dim], chooses some for each row; they have no biases. The weights of
        /// an expert are asked for when a row goes to it.
        case experts(
            router: Tensor, RoutingOptions, weights: (_ expert: Int) -> (gate: Tensor, up: Tensor, down: Tensor))
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
    /// Whether queries and keys are turned by their rows' angles.
    public var isRotated: Bool
    /// Those angles, where they are not the pass's.
    public var angles: RotaryAngles?
    /// The factor of what each half of the layer adds to the residual stream.
    public var residualScale: Float
    /// The layer's number in the caches.
    public var number: Int
    /// Updates that the next layer begins with: they are asked for while this one's feed-forward is computed.
    public var nextUpdates: ArraySlice<Update> = []

    /// Makes a layer.
    public init(
        inputNorm: Tensor, feedForwardNorm: Tensor, queryNorm: Tensor?, keyNorm: Tensor?, epsilon: Float,
        attention projections: (query: Projection, key: Projection, value: Projection, output: Projection),
        feedForward: FeedForward, heads: Int, options: AttentionOptions, isRotated: Bool = true,
        residualScale: Float = 1, number: Int
    ) {
        (self.inputNorm, self.feedForwardNorm) = (inputNorm, feedForwardNorm)
        (self.queryNorm, self.keyNorm, self.epsilon) = (queryNorm, keyNorm, epsilon)
        (query, key, value, output) = projections
        self.feedForward = feedForward
        (self.heads, attention, self.number) = (heads, options, number)
        (self.isRotated, self.residualScale) = (isRotated, residualScale)
    }
}

/// A few rows on their way through the layers of a decoder; for inference only, since it has no backward rule.
///
/// What the operations of the layers would compute one by one is computed here without making a tensor for each: at a
/// few rows a step is bound by reading the weights, and everything else should take no time. The results are those of
/// the single operations, bit for bit.
public protocol DecoderPass {
    /// Lets the rows pass a layer: their keys and values are stored in the caches.
    mutating func apply(_ layer: DecoderLayer)
    /// The residual stream after the last layer, and what that layer adds to it, each [N, dim].
    func result() -> (residual: Tensor, delta: Tensor)
}

/// A pass of few rows, at most `Runtime.fewRows`.
///
/// - Parameters:
///   - embedded: The residual stream before the first layer, [N, dim], f32.
///   - runs: One for each row: its sequence's cache and its position there.
///   - angles: The angles of the rows' positions.
public func decoderPass(_ embedded: Tensor, runs: [CachedAttentionRun], angles: RotaryAngles) -> any DecoderPass {
    precondition(
        embedded.rank == 2 && embedded.shape[0] <= Runtime.fewRows && !embedded.isTracked
            && runs.count == embedded.shape[0]
            && runs.enumerated().allSatisfy { $1.rows == $0..<$0 + 1 && $1.firstPosition >= 0 },
        "decoderPass: \(embedded.shape) and \(runs.count) runs are not few rows one by one")
    return Runtime.shared.backend.decoderPass(embedded, runs: runs, angles: angles)
}

/// The low-rank updates of one pass, by the places of a model's layers; valid while the updates live that it is made of.
package struct UpdatePlan {
    private var updates: [DecoderLayer.Update] = []
    /// Where each place's updates begin, and the last one's end.
    private var starts: [Int] = []

    /// The updates of runs of rows for a number of layers.
    package init(_ runs: [(rows: Range<Int>, updates: LowRankUpdates)], layerCount: Int) {
        guard !runs.isEmpty else { return }
        let all = runs.map { ($0.rows, $0.updates.arguments) }
        starts.reserveCapacity(layerCount + 1)
        for place in 0..<layerCount {
            starts.append(updates.count)
            for (rows, arguments) in all {
                if let arguments = arguments[place] { updates.append(.init(rows: rows, arguments: arguments)) }
            }
        }
        starts.append(updates.count)
    }

    /// The updates of some layers, one after the other; places beyond the last have none.
    package subscript(places: Range<Int>) -> ArraySlice<DecoderLayer.Update> {
        guard places.upperBound < starts.count else { return [] }
        return updates[starts[places.lowerBound]..<starts[places.upperBound]]
    }
}
